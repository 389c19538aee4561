"""Print a cell's record and the command that runs it again."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from bench.cli import options
from bench.cli.common import print_lines
from bench.cli.parsing import Parser
from bench.config import backbone
from bench.records import description, schema, store
from bench.report import record_diff
from bench.utils import tables

EXAMPLES = (
    "show 3f2a",
    "show 3f2a --results results_gpu",
)


def add_options(parser: Parser) -> None:
    options.add_results(parser)
    parser.add_argument(
        "cell", help="a cell: the first digits of its ID, or the file of its record"
    )


def run(args: argparse.Namespace) -> int:
    records = store.Store(args.results)
    record = record_diff.find_record(records, args.cell)
    path = Path(args.cell) if Path(args.cell).is_file() else records.path(record.settings)
    return print_lines(_lines(record, path))


def _lines(record: "schema.Record", path: Path) -> Iterator[str]:
    yield from path.read_text(encoding="utf-8").rstrip().split("\n")
    if record.tuned:
        yield from _trial_lines(record.tuned)
    s = record.settings
    how = backbone.describe_input(s.input, s.recipe.get("normalisation", "backbone"))
    yield ""
    yield f"record: {path}"
    if s.is_synthetic:
        yield f"images: {schema.SYNTHETIC}, drawn to rehearse a job: the accuracy means nothing"
    yield f"input:  {s.backbone}: {how}"
    yield (
        f"again:  {record_diff.rerun_command(record)}"
        if record.request
        else "it does not say how it was asked for"
    )


def _trial_lines(tuned: "schema.TuningResult") -> Iterator[str]:
    """A table of the trials that chose a record's rates."""
    lines = [
        [
            trial.cell,
            description.format_point(trial.point),
            trial.epochs,
            "none" if trial.accuracy is None else f"{trial.accuracy:.2f}",
            f"{trial.seconds:.1f}",
        ]
        for trial in tuned.trials
    ]
    heads = ["trial", "point", "epochs", "accuracy on val", "seconds"]
    yield ""
    yield f"{len(lines)} trials with seed {tuned.seed} in {tuned.seconds:.1f} s:"
    yield from tables.terminal_lines(lines, heads)
