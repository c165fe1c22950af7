"""The command line: ``python -m fastmlp demo`` and ``python -m fastmlp info``."""

import argparse
import sys

from fastmlp import __version__


def _parser():
    parser = argparse.ArgumentParser(
        prog="fastmlp", description="Multi-layer perceptrons, compiled."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)

    demo = commands.add_parser(
        "demo", help="train on real data, side by side with scikit-learn"
    )
    source = demo.add_mutually_exclusive_group()
    source.add_argument(
        "--data",
        choices=("digits", "breast_cancer", "wine", "diabetes", "california"),
        default="digits",
        help="a data set of scikit-learn (default: digits; california is downloaded "
        "by scikit-learn the first time)",
    )
    source.add_argument("--csv", metavar="FILE", help="a CSV file with a header")
    demo.add_argument("--target", metavar="COLUMN", help="the CSV's column to predict")
    demo.add_argument(
        "--hidden",
        metavar="N,N,...",
        default="100",
        help="units of the hidden layers (default: 100)",
    )
    demo.add_argument(
        "--epochs", type=int, default=100, help="epochs at most (default: 100)"
    )
    demo.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")

    commands.add_parser("info", help="versions, processor, tiles, threads, cache")
    return parser


def _hidden_layers(text):
    try:
        sizes = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        sizes = None
    if sizes is None or any(size < 1 for size in sizes):
        raise SystemExit(f"--hidden wants numbers above 0 such as 100,50; got {text!r}")
    return sizes


def main(arguments=None):
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        import rich  # noqa: F401
    except ImportError:
        print("The command line needs rich: pip install rich")
        return 1
    if options.command == "info":
        from fastmlp.info import show_info

        show_info()
        return 0

    from fastmlp.demo import DataError, load_csv, load_named, run_demo

    hidden = _hidden_layers(options.hidden)
    if options.epochs < 1:
        raise SystemExit(f"--epochs must be at least 1, got {options.epochs}")
    try:
        if options.csv is not None:
            if options.target is None:
                raise SystemExit("--csv needs --target, the column to predict")
            data = load_csv(options.csv, options.target)
        elif options.target is not None:
            raise SystemExit("--target needs --csv")
        else:
            data = load_named(options.data)
        run_demo(data, hidden=hidden, epochs=options.epochs, seed=options.seed)
    except DataError as error:
        print(f"fastmlp: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
