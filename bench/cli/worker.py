"""Run the cells that standard input names, a line each; `run` starts these."""

import argparse

from bench.cli import options
from bench.execution import worker


def add_options(parser: argparse.ArgumentParser) -> None:
    options.add_results(parser)
    options.add_plugins(parser)


def run(args: argparse.Namespace) -> int:
    jobs, replies = worker.isolate_stdio()
    worker.serve(args.results, jobs, replies)
    return 0
