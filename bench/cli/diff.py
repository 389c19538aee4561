"""Show which settings and versions differ between two cells."""

import argparse
from collections.abc import Iterator

from bench.cli import options
from bench.cli.common import print_lines
from bench.cli.parsing import Parser
from bench.records import description, store
from bench.report import record_diff
from bench.utils import tables

EXAMPLES = (
    "diff 3f2a 91bc",
    "diff 3f2a results_gpu/records/mini/vit_mini_mae/digits/lora-seed0-3f2a.json",
)


def add_options(parser: Parser) -> None:
    options.add_results(parser)
    for name in ("first", "second"):
        parser.add_argument(
            name, help="a cell: the first digits of its ID, or the file of its record"
        )


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
