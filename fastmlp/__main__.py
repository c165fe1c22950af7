"""The command line: ``python -m fastmlp demo``, ``info`` and ``playground``."""

import argparse
import sys
from pathlib import Path

from fastmlp import __version__


def _parser():
    parser = argparse.ArgumentParser(
        prog="fastmlp",
        description="Fast multi-layer perceptrons on the CPU, with scikit-learn's "
        "interface.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)

    demo = commands.add_parser(
        "demo",
        help="train on real data and compare with scikit-learn",
        description="Train a network on real data, show what it learns, and compare "
        "with scikit-learn: same settings, same seed, and a baseline that learns "
        "nothing. On a terminal, training is also shown in slow motion.",
    )
    source = demo.add_mutually_exclusive_group()
    source.add_argument(
        "--data",
        choices=("digits", "breast_cancer", "wine", "diabetes", "california"),
        default="digits",
        help="a data set of scikit-learn (default: digits; california is downloaded "
        "the first time)",
    )
    source.add_argument(
        "--csv",
        metavar="FILE",
        help="your own data: a CSV file in UTF-8 with a header; needs --target",
    )
    demo.add_argument(
        "--target", metavar="COLUMN", help="the column of the CSV file to predict"
    )
    demo.add_argument(
        "--delimiter",
        metavar="CHARACTER",
        help="what separates the columns of the CSV file, e.g. ';' or tab (default: "
        "comma, semicolon, tab or pipe, whichever fits)",
    )
    demo.add_argument(
        "--hidden",
        metavar="N,N,...",
        type=_hidden_layers,
        default="100",
        help="number of units of each hidden layer (default: 100)",
    )
    demo.add_argument(
        "--epochs",
        metavar="N",
        type=_epochs,
        default=100,
        help="maximum number of epochs (default: 100)",
    )
    demo.add_argument(
        "--seed", metavar="N", type=_seed, default=0, help="random seed (default: 0)"
    )

    playground = commands.add_parser(
        "playground",
        help="watch a network learn, in the browser",
        description="Serve a page on which networks of fastmlp train before your eyes: "
        "choose data, features, layers and solver, and watch what each unit computes.",
    )
    playground.add_argument(
        "--data", metavar="FILE", help="a CSV file in UTF-8 with a header to begin with"
    )
    playground.add_argument(
        "--target",
        metavar="COLUMN",
        help="the column of the file to predict (default: the last)",
    )
    playground.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on (default: 127.0.0.1, this machine only)",
    )
    playground.add_argument(
        "--port",
        metavar="N",
        type=_port,
        default=8080,
        help="the port, or the next that is free (default: 8080)",
    )
    playground.add_argument(
        "--no-browser", action="store_true", help="do not open the page"
    )

    what = "show versions, CPU, threads, and where kernels are from"
    commands.add_parser("info", help=what, description=what.capitalize() + ".")
    return parser


def _hidden_layers(text):
    try:
        sizes = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        sizes = None
    if sizes is None or any(size < 1 for size in sizes):
        raise argparse.ArgumentTypeError(
            f"expected numbers above 0 such as 100,50, got {text!r}"
        )
    return sizes


def _whole_number(text, smallest):
    try:
        number = int(text)
    except ValueError:
        number = None
    if number is None or not smallest <= number < 2**32:
        raise argparse.ArgumentTypeError(
            f"expected a whole number from {smallest} on, got {text!r}"
        )
    return number


def _epochs(text):
    return _whole_number(text, 1)


def _seed(text):
    return _whole_number(text, 0)


def _port(text):
    port = _whole_number(text, 0)
    if port > 65535:
        raise argparse.ArgumentTypeError(f"the highest port is 65535, got {port}")
    return port


def _serve_playground(options):
    try:
        import pandas  # noqa: F401

        from fastmlp.playground.server import PlaygroundError, serve
    except ModuleNotFoundError as error:
        print(
            f"fastmlp: the playground needs {error.name}: "
            "pip install starlette uvicorn websockets pandas",
            file=sys.stderr,
        )
        return 1
    try:
        own = None
        if options.data is not None:
            from fastmlp.playground.own_data import read_csv

            content = Path(options.data).read_bytes()
            own = read_csv(content, options.target, name=options.data)
        serve(options.host, options.port, own=own, opens_browser=not options.no_browser)
    except (PlaygroundError, OSError, ValueError) as error:
        print(f"fastmlp: {error}", file=sys.stderr)
        return 1
    return 0


def _check(parser, options):
    """End with a usage message if options do not go together."""
    if options.csv is not None and options.target is None:
        parser.error("--csv needs --target, the column to predict")
    if options.csv is None:
        for name in ("target", "delimiter"):
            if getattr(options, name) is not None:
                parser.error(f"--{name} needs --csv")
    if options.delimiter is not None:
        names = {"tab": "\t", "\\t": "\t", "space": " "}
        options.delimiter = names.get(options.delimiter, options.delimiter)
        if len(options.delimiter) != 1 or options.delimiter in '"\r\n':
            parser.error("--delimiter must be one character, or 'tab' or 'space'")


def main(arguments=None):
    """Run the command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "playground":
        if options.target is not None and options.data is None:
            parser.error("--target needs --data")
        return _serve_playground(options)
    if options.command == "demo":
        _check(parser, options)
    try:
        import rich  # noqa: F401
    except ImportError:
        print("fastmlp: the command line needs rich: pip install rich", file=sys.stderr)
        return 1
    if options.command == "info":
        from fastmlp.commands.info import show_info

        show_info()
        return 0

    from fastmlp.commands.demo import DataError, load_csv, load_named, run_demo
    from fastmlp.commands.demo_screen import Screen

    try:
        if options.csv is not None:
            with Screen().waiting(f"reading {options.csv}:"):
                data = load_csv(
                    options.csv, options.target, delimiter=options.delimiter
                )
        else:
            data = load_named(options.data)
        run_demo(data, hidden=options.hidden, epochs=options.epochs, seed=options.seed)
    except DataError as error:
        print(f"fastmlp: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fastmlp: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
