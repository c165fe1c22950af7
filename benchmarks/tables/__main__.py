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

HERE = Path(__file__).resolve().parent


def options_of(arguments=None):
    """What the command line says."""
    from models import MODELS
    from sets import SHIPPED

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


def compare_elsewhere(arguments):
    """Make the environment and compare in it: this one may lack all packages."""
    sys.path.append(str(HERE.parent))
    from environment import environment

    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--environment", type=Path, default=HERE / ".env")
    chosen, _ = parser.parse_known_args(arguments)
    python = environment(chosen.environment.resolve(), HERE / "requirements.txt")
    return subprocess.run([python, HERE, *arguments, "--here"], check=False).returncode


def main():
    """Compare, here or in an environment that is made for it."""
    arguments = sys.argv[1:]
    if not {"--here", "--render", "-h", "--help"} & {*arguments}:
        sys.exit(compare_elsewhere(arguments))
    options = options_of(arguments)
    if options.render:
        from report import ROOT, render

        render(options.output or ROOT / "docs")
    else:
        from compare import compare

        compare(options)


if __name__ == "__main__":
    main()
