"""Export the trained weights of a cell, or all results in one file."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

import methods
from bench.cli import options
from bench.cli.common import print_lines
from bench.cli.parsing import Parser
from bench.execution import export, peft_export
from bench.records import store
from bench.report import boards, frame, generate
from bench.training import devices
from bench.utils import files
from bench.utils.errors import UserError, unknown_name

NO_ADAPTER = "cannot leave as PEFT's adapter"

EXAMPLES = (
    "export --format csv",
    "export --record RECORD.json --out lora.safetensors",
    "export --record RECORD.json --merged model.safetensors",
)


def add_options(parser: Parser) -> None:
    options.add_results(parser)
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--record", type=Path, help="train the cell of this record, and write what it trains"
    )
    what.add_argument("--format", help="write all results in this format: csv, parquet or latex")
    add("--out", type=Path, help="write this file (default: named after the cell or the format)")
    add(
        "--merged",
        type=Path,
        help="also write a timm checkpoint with the method folded into its weights",
    )
    add("--peft", type=Path, help="also write a folder with PEFT's own adapter (methods peft_...)")
    options.add_computing(parser)
    options.add_plugins(parser)


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
    _require_writable(args.merged, args.peft)
    record, where = store.read_record(args.record), torch.device(device)
    cell = export.cell_of_record(record, args.data_root, device)
    if args.peft:
        with _refused(f"{record.settings.method} {NO_ADAPTER}"):
            peft_export.require_adapter(cell)
    trained = args.out or Path(f"{record.cell}.safetensors")
    with _refused(f"cell {record.cell} has nothing to export"):
        yield _describe(export.export_trained(cell, trained, where, lambda *_: None))
    if args.merged:
        with _refused(f"{record.settings.method} cannot be merged"):
            yield _describe(export.export_merged(cell, trained, args.merged, where))
    if args.peft:
        with _refused(f"{record.settings.method} {NO_ADAPTER}"):
            yield _describe(export.export_peft(cell, trained, args.peft, where))
    if record.outcome:
        yield f"the record says {record.outcome.accuracy:.2f} %"


def _require_writable(merged: Path | None, adapter: Path | None) -> None:
    """Raise `UserError` for names that timm or PEFT would not take."""
    if merged and merged.suffix != ".safetensors":
        raise UserError(f"--merged needs a file name that ends in .safetensors; {merged} was given")
    if adapter and adapter.exists() and not adapter.is_dir():
        raise UserError(f"--peft writes a folder; {adapter} is a file")


@contextmanager
def _refused(what: str) -> Iterator[None]:
    """Raise `Unsupported` as a `UserError`, for the user asked for it."""
    try:
        yield
    except methods.Unsupported as error:
        raise UserError(f"{what}: {error}") from None


def _describe(file: "export.ExportedFile") -> str:
    return f"{file.path}: {file.num_bytes:,} bytes; read back, {file.accuracy:.2f} % on test"
