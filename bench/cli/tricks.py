"""Write what each trick of protocols is worth on the records."""

import argparse

from bench.cli import common
from bench.cli.common import print_lines, require_results
from bench.report import generate, tricks
from bench.utils import files


def add_options(parser: argparse.ArgumentParser) -> None:
    common.add_results(parser)


def run(args: argparse.Namespace) -> int:
    require_results(args.results)
    page = generate.render_tricks_page(args.results)
    return print_lines(files.write_files(args.results, {tricks.PAGE: page.encode()}))
