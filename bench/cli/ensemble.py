"""Score the averaged probabilities of two cells, of two methods or of two seeds of one."""

import argparse

import torch

from bench.cli import common
from bench.cli.common import print_lines
from bench.execution import ensemble, export
from bench.records import store
from bench.report import record_diff
from bench.training import devices
from bench.utils import files, tables

FOLDER = "ensembles"
SHOWN = ("kind", "first", "first_seed", "second", "second_seed",
         "first_accuracy", "second_accuracy", "ensemble")  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    common.add_results(parser)
    parser.add_argument(
        "cells", nargs="+", metavar="CELL", help="the first digits of their names, or files"
    )
    common.add_computing(parser)
    common.add_plugins(parser)


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
    path = args.results / FOLDER / f"{ensemble.name_of(found)}.csv"
    files.write_atomically(path, tables.csv_from_dicts(ensemble.COLUMNS, rows).encode())
    return print_lines([path])


def _announce(line: str) -> None:
    print_lines([line])
