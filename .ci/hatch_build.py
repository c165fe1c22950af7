"""Build kernels into wheels: for this CPU, unless a variable says otherwise.

``FASTMLP_BUILD_KERNELS`` is ``host`` (the default), ``all`` levels of this kind of
machine, or ``none``. Editable installs have none: sources that change fit no library.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
import time

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

_BUILDER = os.path.join("fastmlp", "commands", "build_kernels.py")
_FOLDER = "fastmlp/compilation/libraries"


def _platform():
    """The tag of this platform; on macOS for this machine, whatever Python is for."""
    if sys.platform == "darwin":
        return next(iter(platform_tags()))
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


class KernelsHook(BuildHookInterface):
    """Adds libraries of kernels to a wheel, which is then for one kind of machine."""

    def initialize(self, version, build_data):
        """Build, or say why not: a wheel without libraries compiles when it is used."""
        asked = os.environ.get("FASTMLP_BUILD_KERNELS", "host")
        if asked not in ("host", "all", "none"):
            raise ValueError(
                f"FASTMLP_BUILD_KERNELS must be host, all or none, got {asked!r}"
            )
        if self.target_name != "wheel" or version == "editable" or asked == "none":
            return
        self._folder = tempfile.TemporaryDirectory()
        what = "all levels of CPUs" if asked == "all" else "this CPU"
        self.app.display_waiting(f"fastmlp: compiling kernels for {what}")
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, os.path.join(self.root, _BUILDER), self._folder.name,
             *(["--all"] if asked == "all" else [])],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        if done.returncode != 0:
            reason = done.stdout.strip().rpartition("\n")[2].partition(": ")[2]
            if asked == "all":
                raise RuntimeError(done.stdout)
            self.app.display_warning(
                f"fastmlp: no kernels are built in, since {reason}. They are "
                "compiled when they are first needed, which takes some ten seconds"
            )
            return
        seconds = time.perf_counter() - started
        self.app.display_info(f"{done.stdout.strip()}: built in {seconds:.0f} s")
        for name in os.listdir(self._folder.name):
            path = os.path.join(self._folder.name, name)
            build_data["force_include"][path] = f"{_FOLDER}/{name}"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform()}"

    def finalize(self, version, build_data, artifact_path):
        """Delete what was built: it is in the wheel."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()
