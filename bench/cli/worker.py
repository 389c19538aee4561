"""Run the cells that standard input names, a line each; `run` starts these."""

import argparse

from bench.cli import common
from bench.execution import worker


def add_options(parser: argparse.ArgumentParser) -> None:
    common.add_results(parser)
    common.add_plugins(parser)


def run(args: argparse.Namespace) -> int:
    jobs, replies = worker.isolate_stdio()
    worker.serve(args.results, jobs, replies)
    return 0
