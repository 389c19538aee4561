"""Write what a cell trains, a plain model with it folded in, or all results."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch

import methods
from bench.cli import common
from bench.cli.common import print_lines
from bench.execution import export
from bench.records import store
from bench.report import boards, frame, generate
from bench.training import devices
from bench.utils import files
from bench.utils.errors import UserError, unknown_name


def add_options(parser: argparse.ArgumentParser) -> None:
    common.add_results(parser)
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--record", type=Path, help="a cell, by its record: write what it trains")
    what.add_argument("--format", help="write all results, as csv, parquet or latex")
    add("--out", type=Path, help="the file to write (default: named after the cell or the format)")
    add("--merged", type=Path, help="also a checkpoint of timm's with the method folded in")
    add("--peft", type=Path, help="also a folder with PEFT's own adapter, of a peft_... method")
    common.add_computing(parser)
    common.add_plugins(parser)


def run(args: argparse.Namespace) -> int:
    if args.format:
        return print_lines(_export_results(args.results, args.format, args.out))
    device = devices.resolve_device(args.device)
    return print_lines(_export_cell(args, device))


def _export_results(results: Path, kind: str, out: Path | None) -> Iterator[str]:
    """Write the results in another program's format."""
    if kind not in generate.EXPORT_FORMATS:
        raise unknown_name("format", kind, generate.EXPORT_FORMATS)
    ending, write = generate.EXPORT_FORMATS[kind]
    records, _ = store.read_valid(store.Store(results))
    if not records:
        raise UserError(f"no record in {results} to export")
    path = out or results / f"results.{ending}"
    made = boards.build_boards(frame.record_frame(records), generate.load_suites(records))
    files.write_atomically(path, write(records, made))
    yield f"{path}: {len(records)} records"


def _export_cell(args: argparse.Namespace, device: str) -> Iterator[str]:
    """Write what a record's cell trains; with `merged` and `peft`, for other programs, too."""
    record, where = store.read_record(args.record), torch.device(device)
    cell = export.cell_of_record(record, args.data_root, device)
    trained = args.out or Path(f"{record.cell}.safetensors")
    try:
        yield _describe(export.export_trained(cell, trained, where, lambda *_: None))
    except methods.Unsupported as error:
        raise UserError(f"cell {record.cell} has nothing to export: {error}") from None
    others = (
        (args.merged, export.export_merged, "cannot be merged"),
        (args.peft, export.export_peft, "cannot leave as PEFT's adapter"),
    )
    for out, write, refusal in others:
        if out:
            try:
                yield _describe(write(cell, trained, out, where))
            except methods.Unsupported as error:
                raise UserError(f"{record.settings.method} {refusal}: {error}") from None
    if record.outcome:
        yield f"the record says {record.outcome.accuracy:.2f} %"


def _describe(file: "export.ExportedFile") -> str:
    return f"{file.path}: {file.num_bytes:,} bytes; read back, {file.accuracy:.2f} % on test"
