"""Say which settings and versions differ between two cells."""

import argparse
from collections.abc import Iterator

from bench.cli import common
from bench.cli.common import print_lines
from bench.records import description, store
from bench.report import record_diff
from bench.utils import tables


def add_options(parser: argparse.ArgumentParser) -> None:
    common.add_results(parser)
    for name in ("first", "second"):
        parser.add_argument(name, help="the first digits of a cell's name, or its record's file")


def run(args: argparse.Namespace) -> int:
    return print_lines(_lines(store.Store(args.results), args.first, args.second))


def _lines(records: "store.Store", first: str, second: str) -> Iterator[str]:
    one, other = record_diff.find_record(records, first), record_diff.find_record(records, second)
    for record in (one, other):
        task = description.describe_task(record.settings)
        ended = f"{record.outcome.accuracy:.2f} %" if record.outcome else "no result"
        yield f"{record.cell}  {record.settings.method} on {task}: {ended}"
    rows = record_diff.record_differences(one, other)
    heads = ["", one.cell, other.cell]
    yield from tables.terminal_lines(rows, heads) if rows else ["nothing differs"]
    test = record_diff.mcnemar_sentence(one, other, records)
    if test:
        yield test
