"""Score the averaged predictions of two cells or more."""

import argparse

import torch

from bench.cli import options
from bench.cli.common import print_lines
from bench.cli.parsing import Parser
from bench.execution import ensemble, export
from bench.records import ensembles, store
from bench.report import record_diff
from bench.training import devices
from bench.utils import files, tables

SHOWN = ("kind", "first", "first_seed", "second", "second_seed",
         "first_accuracy", "second_accuracy", "ensemble")  # fmt: skip

EXAMPLES = (
    "ensemble 3f2a 91bc",
    "ensemble 3f2a 91bc 77d0 --results results --device cuda",
)


def add_options(parser: Parser) -> None:
    options.add_results(parser)
    parser.add_argument(
        "cells",
        nargs="+",
        metavar="CELL",
        help="two cells or more: the first digits of their IDs, or the files of their records",
    )
    options.add_computing(parser)
    options.add_plugins(parser)


def run(args: argparse.Namespace) -> int:
    records = store.Store(args.results)
    records.require_writable()
    device = devices.resolve_device(args.device)
    found = [record_diff.find_record(records, name) for name in args.cells]
    ensemble.require_comparable(found)
    cells = [export.cell_of_record(record, args.data_root, device) for record in found]
    scored = ensemble.score_all(found, cells, torch.device(device), _announce)
    rows = ensemble.ensembles(scored)
    print_lines(tables.terminal_lines([[row[name] for name in SHOWN] for row in rows], SHOWN))
    name = ensembles.ensemble_name(record.cell for record in found)
    path = args.results / ensembles.ENSEMBLES_DIR / f"{name}.csv"
    files.write_atomically(path, tables.csv_from_dicts(ensemble.COLUMNS, rows).encode())
    return print_lines([path])


def _announce(line: str) -> None:
    print_lines([line])
