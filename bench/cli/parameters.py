"""Write the ledger of trainable parameters."""

import argparse

from bench.cli import common
from bench.cli.common import print_lines
from bench.performance import parameter_counts
from bench.utils import files


def add_options(parser: argparse.ArgumentParser) -> None:
    common.add_results(parser)
    common.add_plugins(parser)


def run(args: argparse.Namespace) -> int:
    path = args.results / "parameters.md"
    files.write_atomically(path, parameter_counts.markdown_page().encode())
    return print_lines([path])
