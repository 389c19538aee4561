"""Run the cells that standard input names, a line each; `run` starts these."""

import argparse
from pathlib import Path

from bench.cli import common
from bench.execution import worker


def add_options(parser: argparse.ArgumentParser) -> None:
    common.add_results(parser)
    # not `plugins`, which are loaded while what they print would still be taken for a reply
    parser.add_argument("--plugin", type=Path, action="append", default=[], dest="own_methods")


def run(args: argparse.Namespace) -> int:
    worker.serve(args.results, args.own_methods, *worker.isolate_stdio())
    return 0
