"""Write what each trick of protocols is worth on the records."""

import argparse

from bench.cli import common
from bench.cli.common import print_lines, require_results
from bench.records import store
from bench.report import boards, frame, generate, tricks
from bench.utils import files


def add_options(parser: argparse.ArgumentParser) -> None:
    common.add_results(parser)


def run(args: argparse.Namespace) -> int:
    require_results(args.results)
    records, _ = store.read_valid(store.Store(args.results))
    found = frame.record_frame(records)
    page = tricks.render_tricks(boards.build_boards(found, generate.load_suites(records)), found)
    return print_lines(files.write_files(args.results, {tricks.PAGE: page.encode()}))
