"""Errors and times of fastmlp, other networks and boosted trees on tables, in one run.

    python benchmarks/tables [FOLDER ...] [--models ...] [--seeds 0 1 2] [--rows 5000]
    python benchmarks/tables --render

Makes an environment of its own (benchmarks/tables/.env, with fastmlp from this source
tree, LightGBM, CatBoost and pytabkit, which has RealMLP) and lets all models, with
their defaults, fit the same rows in turn. The data sets are some that scikit-learn
ships or makes, and those of each FOLDER:

- .csv and .parquet: a column is the target, the last one unless --target names it.
  Text, truth values, and whole numbers of at most 20 values are classes.
- .npz, with arrays X (rows x columns; of numbers, or codes of categories), y (classes
  if they are integers, else numbers), cat (True for each column of codes), and test
  (True for each row to be tested on).

Prints a line of JSON for each fit, then a table. All results go to docs/tabular.json
(unless --quick), and from there to docs/tabular.md; --render does only the latter.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from models import MODELS
from report import ROOT, render
from sets import SHIPPED

HERE = Path(__file__).resolve().parent


def options_of(arguments=None):
    """What the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("folders", nargs="*", type=Path, metavar="FOLDER", help="of more data sets")
    add("--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="MODEL",
        help=f"some of: {', '.join(MODELS)}")  # fmt: skip
    add("--sets", nargs="*", choices=SHIPPED, default=list(SHIPPED), metavar="SET",
        help=f"of those without a folder, some of: {', '.join(SHIPPED)}")  # fmt: skip
    add("--target", help="name of the target in .csv and .parquet files")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    add("--rows", type=int, default=5000, help="to train on, at most")
    add("--quick", action="store_true", help="300 rows, one seed, stores nothing")
    add("--render", action="store_true", help="measure nothing")
    add("--here", action="store_true",
        help="run in this environment; leave out models that it lacks")  # fmt: skip
    add("--environment", type=Path, default=HERE / ".env")
    add("--output", type=Path, help="folder for results and page, default: docs")
    return parser.parse_args(arguments)


def main():
    """Make the environment and compare in it."""
    options = options_of()
    if options.render:
        render(options.output or ROOT / "docs")
    elif options.here:
        from compare import compare

        compare(options)
    else:
        sys.path.append(str(HERE.parent))
        from environment import environment

        python = environment(options.environment.resolve(), HERE / "requirements.txt")
        command = [python, HERE, *sys.argv[1:], "--here"]
        sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
