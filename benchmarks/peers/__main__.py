"""fastmlp beside its peers, interleaved in one run.

    python benchmarks/peers [--quick] [--repeats N] [WORKLOAD ...]

Makes an environment of its own (benchmarks/peers/.env, with fastmlp from this source
tree, PyTorch, JAX, scikit-learn and LightGBM), starts every contestant in a process of
its own, lets them do the same work in turn, repeats, and writes docs/peers.md,
docs/peers.svg and docs/peers.json.
"""

import argparse
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def environment(folder):
    """The Python of an environment with all contestants, made if it is not there."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / "complete"
    requirements = HERE / "requirements.txt"
    if not done.exists() or done.read_text() != requirements.read_text():
        print(f"making {folder} (once)", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, "-r", requirements], check=True)
        subprocess.run([*install, "--editable", ROOT], check=True)
        done.write_text(requirements.read_text())
    return python


def main():
    """Make the environment and run the comparison in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="short runs, 3 repeats")
    parser.add_argument("--environment", type=Path, default=HERE / ".env")
    parser.add_argument("--output", type=Path, default=ROOT / "docs")
    options = parser.parse_args()
    python = environment(options.environment.resolve())
    command = [python, HERE / "compare.py", *options.workloads]
    command += ["--repeats", str(options.repeats), "--output", options.output.resolve()]
    command += ["--quick"] if options.quick else []
    found = {**os.environ, "PYTHONPATH": str(HERE.parent)}  # workloads.py
    sys.exit(subprocess.run(command, check=False, env=found).returncode)


if __name__ == "__main__":
    main()
