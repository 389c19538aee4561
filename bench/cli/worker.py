"""Run the cells named on standard input; started by `run`."""

import argparse
from pathlib import Path

from bench.cli import options
from bench.cli.parsing import Parser
from bench.execution import worker

EXAMPLES = ("worker --results results",)


def add_options(parser: Parser) -> None:
    options.add_results(parser)
    # not `plugins`, which are loaded while what they print would still be taken for a reply
    parser.add_argument(
        "--plugin",
        type=Path,
        action="append",
        default=[],
        dest="own_methods",
        help="load methods from this file",
    )


def run(args: argparse.Namespace) -> int:
    worker.serve(args.results, args.own_methods, *worker.isolate_stdio())
    return 0
