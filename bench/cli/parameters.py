"""Write the table of trainable parameters of every method."""

import argparse

from bench.cli import options
from bench.cli.common import print_lines
from bench.cli.parsing import Parser
from bench.performance import parameter_counts
from bench.utils import files

EXAMPLES = (
    "parameters",
    "parameters --plugin my_method.py",
)


def add_options(parser: Parser) -> None:
    options.add_results(parser)
    options.add_plugins(parser)


def run(args: argparse.Namespace) -> int:
    path = args.results / "parameters.md"
    files.write_atomically(path, parameter_counts.markdown_page().encode())
    return print_lines([path])
