"""Score the models on the path from a cell's start to its end."""

import argparse
from collections.abc import Iterator
from math import isfinite

import torch

from bench.cli import options, parsing
from bench.cli.common import print_lines
from bench.cli.parsing import Parser
from bench.execution import interpolation
from bench.records import interpolations, store
from bench.report import interpolation_page, record_diff
from bench.training import devices
from bench.utils import files, names
from bench.utils.errors import UserError

TENTHS = tuple(i / 10 for i in range(11))

EXAMPLES = (
    "interpolate 3f2a",
    "interpolate 3f2a --alphas 0.25,0.5,0.75",
    "interpolate 3f2a --along scale --data-root /data",
)


def add_options(parser: Parser) -> None:
    options.add_results(parser)
    add = parser.add_argument
    add("cell", help="a cell: the first digits of its ID, or the file of its record")
    add(
        "--alphas",
        type=_alphas,
        default=TENTHS,
        metavar="0,0.5,1",
        help="score these points between 0, the start, and 1, the adapted model, "
        "beside both ends (default: in tenths)",
    )
    add("--extrapolate", action="store_true", help="allow alphas below 0 and above 1")
    add(
        "--along",
        choices=["weights", "scale"],
        default="weights",
        help="mix the merged weights, or scale the method's updates (default: weights)",
    )
    options.add_computing(parser)
    options.add_plugins(parser)


def run(args: argparse.Namespace) -> int:
    _require_between(args.alphas, args.extrapolate)
    records = store.Store(args.results)
    records.require_writable()
    device = devices.resolve_device(args.device)
    record = record_diff.find_record(records, args.cell)
    cell = interpolation.interpolable_cell(record, args.along, args.data_root, device)
    found = interpolation.interpolate(
        record, cell, args.alphas, args.along, torch.device(device), _announce
    )
    return print_lines(_write(args, found))


def _announce(line: str) -> None:
    print_lines([line])


def _write(args: argparse.Namespace, found: "interpolations.Interpolation") -> Iterator[object]:
    """Write the scores, and what is drawn from them."""
    yield interpolations.write_interpolation(args.results, found)
    yield from files.write_files(args.results, interpolation_page.render_files(found))


def _alphas(text: str) -> tuple[float, ...]:
    """Return numbers with commas between them."""
    found = tuple(map(_number, parsing.names("alpha")(text)))
    most = interpolations.MAX_POINTS - 2  # beside 0 and 1
    if len(found) > most:
        raise argparse.ArgumentTypeError(f"at most {most} alphas were expected, got {len(found)}")
    return found


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    most = interpolations.MAX_ALPHA
    if not isfinite(value) or abs(value) > most:
        raise argparse.ArgumentTypeError(
            f"numbers from -{most:g} to {most:g} were expected, got {names.shorten(text)}"
        )
    return value


def _require_between(alphas: tuple[float, ...], extrapolate: bool) -> None:
    """Raise `UserError` for an alpha beyond the two models, unless that was asked for."""
    beyond = [alpha for alpha in alphas if not 0 <= alpha <= 1]
    if beyond and not extrapolate:
        raise UserError(
            f"alpha {beyond[0]:g} is not between the start, 0, and the adapted model, 1; "
            "--extrapolate allows it"
        )
