"""Benchmarks of fastmlp against scikit-learn, PyTorch and JAX, interleaved in one run.

    python benchmarks/peers [--quick] [--repeats N] [--machine NAME] [WORKLOAD ...]
    python benchmarks/peers --render

Makes an environment of its own (benchmarks/peers/.env, with fastmlp from this source
tree, PyTorch, JAX, scikit-learn and LightGBM), starts every contestant in a process of
its own, lets them do the same work in turn, and repeats. All times go to
docs/peers.json, beside those of other machines; docs/peers.md and its chart are made
from that file, and ``--render`` does only this.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def main():
    """Make the environment and run the benchmarks in it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "workloads",
        nargs="*",
        metavar="WORKLOAD",
        help="names in benchmarks/workloads.py: prints only these, stores nothing",
    )
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="short runs, 3 repeats")
    parser.add_argument("--machine", help="what to call this machine on the page")
    parser.add_argument("--render", action="store_true", help="measure nothing")
    parser.add_argument("--environment", type=Path, default=HERE / ".env")
    parser.add_argument("--output", type=Path, default=ROOT / "docs")
    options = parser.parse_args()
    output = options.output.resolve()
    if options.render:
        command = [sys.executable, HERE / "report.py", output]
    else:
        sys.path.append(str(HERE.parent))
        from environment import environment

        python = environment(options.environment.resolve(), HERE / "requirements.txt")
        command = [python, HERE / "compare.py", *options.workloads]
        command += ["--repeats", str(options.repeats), "--output", output]
        command += ["--machine", options.machine] if options.machine else []
        command += ["--quick"] if options.quick else []
    found = {**os.environ, "PYTHONPATH": str(HERE.parent)}  # workloads.py
    sys.exit(subprocess.run(command, check=False, env=found).returncode)


if __name__ == "__main__":
    main()
