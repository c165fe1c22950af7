"""Environments of benchmarks that need other libraries: made once, beside them."""

import os
import subprocess
import venv
from pathlib import Path

__all__ = ["ROOT", "environment"]

ROOT = Path(__file__).resolve().parents[1]


def environment(folder, requirements):
    """The Python of an environment with fastmlp and some packages.

    It is made if it is not there, or if the file `requirements` has changed since.
    """
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / "complete"
    if not done.exists() or done.read_text() != requirements.read_text():
        print(f"making {folder} (once)", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, "-r", requirements], check=True)
        subprocess.run([*install, "--editable", ROOT], check=True)
        done.write_text(requirements.read_text())
    return python
