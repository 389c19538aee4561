"""Bring others' records in."""

import argparse
from pathlib import Path

from bench.cli import common
from bench.cli.common import print_refused, print_result, write_tables
from bench.records import store
from bench.report import record_checks


def add_options(parser: argparse.ArgumentParser) -> None:
    common.add_results(parser)
    parser.add_argument(
        "paths", type=Path, nargs="+", metavar="PATH", help="others' results folders or records"
    )


def run(args: argparse.Namespace) -> int:
    records = store.Store(args.results)
    records.require_writable()
    records.require_current_schema()
    checked = record_checks.check_records(args.paths)
    merged = [f"{what}: {one.path}" for what, one in record_checks.merge_records(checked, records)]
    write_tables(args.results)
    print_result(merged)
    return print_refused([problem for one in checked for problem in one.problems])
