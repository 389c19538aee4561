"""Write what each protocol trick is worth, from the records."""

import argparse

from bench.cli import options
from bench.cli.common import print_lines, require_results
from bench.cli.parsing import Parser
from bench.report import generate, tricks
from bench.utils import files

EXAMPLES = (
    "tricks",
    "tricks --results results_gpu",
)


def add_options(parser: Parser) -> None:
    options.add_results(parser)


def run(args: argparse.Namespace) -> int:
    require_results(args.results)
    page = generate.render_tricks_page(args.results)
    return print_lines(files.write_files(args.results, {tricks.PAGE: page.encode()}))
