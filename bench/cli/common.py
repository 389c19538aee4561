"""Options that several commands share, exit statuses, and printing."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.cli import streams
from bench.execution import request
from bench.records import store
from bench.report import generate
from bench.training import devices
from bench.utils import escaping, toml
from bench.utils import names as limits
from bench.utils.errors import UserError

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def print_error(sentence: str, status: int) -> int:
    """Print on standard error what is wrong, on one line; return the status."""
    with suppress(OSError, ValueError):  # nobody reads it
        print(f"bench: {escaping.for_terminal(sentence)}", file=sys.stderr, flush=True)
    return status


def print_lines(lines: Iterable[object]) -> int:
    """Print lines as they come, each on one line; return the status of success."""
    for line in lines:
        _print_line(line)
    return 0


def _print_line(line: object) -> None:
    try:
        print(escaping.for_terminal(line), flush=True)
    except BrokenPipeError:
        raise streams.ReaderGone from None


def print_result(lines: Iterable[object]) -> None:
    """Print lines of a command whose status says more: it does not depend on who reads them."""
    try:
        print_lines(lines)
    except streams.ReaderGone:
        streams.silence(sys.stdout)


def print_refused(refused: Sequence[str]) -> int:
    """Print on standard error what was refused, and why; return the status."""
    for problem in refused:
        print_error(f"refused: {problem}", FAILED)
    return FAILED if refused else 0


def require_results(results: Path) -> None:
    """Raise `UserError` where there is no results folder of the current version."""
    if not results.is_dir():
        raise UserError(f"no results folder at {results}; name another with --results")
    store.Store(results).require_current_schema()


def write_tables(results: Path) -> list[Path]:
    """Regenerate the tables, and print on standard error which records were skipped."""
    files = generate.regenerate(results)
    for problem in files.problems:
        print_error(f"skipped: {problem}", FAILED)
    return files.written


VARIANTS = ("lossless", "jpeg75")  # as `data.prepared` has them, which takes long to import


def names(kind: str) -> Callable[[str], list[str]]:
    """Return the type of an option that takes names, with commas between them."""

    def parse(text: str) -> list[str]:
        found = [name.strip() for name in text.split(",") if name.strip()]
        if not found:
            raise argparse.ArgumentTypeError(f"{limits.shorten(text)} names no {kind}")
        return found

    return parse


def _seeds(text: str) -> list[int]:
    found = [_parse_whole(name) for name in names("seed")(text)]
    if any(seed is None or seed > limits.MAX_SEED for seed in found):
        raise argparse.ArgumentTypeError(
            f"seeds are whole numbers below 2^32, as in 0,1,2; got {limits.shorten(text)}"
        )
    return [seed for seed in found if seed is not None]


def _parse_whole(text: str) -> int | None:
    """Return a whole number in decimal digits, of some length; None for anything else."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def _change(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"expected FIELD=VALUE, got {limits.shorten(text)}")
    try:
        return name, toml.parse_value(value)
    except toml.NotToml as error:
        raise argparse.ArgumentTypeError(f"{limits.shorten(name)}: {error}") from None


def whole(least: int, most: int = 10**9) -> Callable[[str], int]:
    """Return the type of an option that takes a whole number from `least` to `most`."""

    def parse(text: str) -> int:
        value = _parse_whole(text)
        if value is None or not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"a whole number from {least} to {most:,} was expected, got {limits.shorten(text)}"
            )
        return value

    return parse


def _sbatch_option(text: str) -> tuple[str, str]:
    name, equals, value = text.strip("-").partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"expected OPTION=VALUE, got {limits.shorten(text)}")
    return name.replace("-", "_"), value


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if text.isascii() and 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(
        f"a number of seconds was expected, got {limits.shorten(text)}"
    )


def add_debug(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="of records and tables (results)"
    )


def add_plugins(parser: argparse.ArgumentParser) -> None:
    """Add the option of a user's own methods."""
    parser.add_argument(
        "--plugin",
        type=Path,
        action="append",
        default=[],
        dest="plugins",
        metavar="FILE.py",
        help="a file that registers methods of your own; may be repeated",
    )


def add_data_root(parser: argparse.ArgumentParser) -> None:
    """Add the option of where the data are."""
    parser.add_argument(
        "--data-root",
        type=Path,
        default=Path(os.environ.get("BENCH_DATA") or "data"),
        help="where the tasks' folders lie (default: $BENCH_DATA, or data)",
    )


def add_variant(parser: argparse.ArgumentParser) -> None:
    """Add the option of which variant of prepared data to read."""
    parser.add_argument(
        "--variant",
        choices=VARIANTS,
        help="of prepared or built-in data (default: lossless, else a folder as found)",
    )


def add_computing(parser: argparse.ArgumentParser) -> None:
    """Add the options of where the data are, and which device computes."""
    add_data_root(parser)
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: a GPU if there is one)")


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the options that select cells; `request_of` reads them."""
    add = parser.add_argument
    add("--suite", help="name or card.toml (default: the demo of mini)")
    add("--methods", type=names("method"), default=[], metavar="A,B", help="default: the suite's")
    add(
        "--backbones",
        type=names("backbone"),
        default=[],
        metavar="A,B",
        help="names, timm names, card.toml or TIMM_NAME@WEIGHTS (default: the suite's)",
    )
    add("--tasks", type=names("task"), default=[], metavar="A,B", help="default: the suite's")
    add("--seeds", type=_seeds, default=[], metavar="0,1", help="default: the suite's")
    add("--recipe", help="name or card.toml (default: the suite's)")
    add(
        "--set",
        type=_change,
        action="append",
        default=[],
        dest="changes",
        metavar="FIELD=VALUE",
        help="change a field of the recipe or of the methods that have it; may be repeated: "
        "of one field, the last counts",
    )
    add_variant(parser)
    add_computing(parser)


def add_study(parser: argparse.ArgumentParser) -> None:
    """Add the options of a paper's study, in place of the suite, methods and so on."""
    add = parser.add_argument
    add("--study", metavar="PAPER/STUDY", help="name or card.toml: run its cells, and show them")
    add("--quick", action="store_true", help="the study over the suite mini and its backbones")


def add_tuning(parser: argparse.ArgumentParser) -> None:
    """Add the options of whether trials on validation data choose the rates, and how."""
    parser.add_argument(
        "--tune",
        action=argparse.BooleanOptionalAction,
        help="let trials on validation data choose rates and fields first (default: the recipe's)",
    )
    add_halving(parser)


def add_halving(parser: argparse.ArgumentParser) -> None:
    """Add the option of successive halving."""
    parser.add_argument(
        "--halving",
        action="store_true",
        help="short trials first, and longer ones of the better half, within the same budget",
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of how cells are run; `run_options_of` reads them."""
    _add_choice_of_cells(parser)
    _add_executor(parser)
    add = parser.add_argument
    add("--timeout", type=_seconds, metavar="SECONDS", help="that a cell may take")
    add("--retry", type=whole(0), default=0, metavar="N", help="further attempts at a failed cell")
    add("--fail-fast", action="store_true", help="start no other cell after one has failed")


def _add_choice_of_cells(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--dry-run", action="store_true", help="print the cells and stop")
    add("--force", action="store_true", help="run cells that have a record, too")
    add("--only", choices=["failed"], help="of the cells, those whose record is a failure")
    add("--limit-cells", type=whole(1), metavar="N", help="run so many at most")


def _add_executor(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--executor",
        choices=["local", "ray", "slurm", "slurm-local"],
        default="local",
        help="where cells run (default: local, on this machine); slurm-local tries it here",
    )
    add(
        "--workers",
        type=whole(0),
        metavar="N",
        help="processes, or cells at once (default: one a GPU; without, one a core for "
        "small backbones, or one; on a cluster, what it has); "
        "0: in the command's own process",
    )
    add("--per-gpu", type=whole(1), default=1, metavar="K", help="processes a GPU (default: 1)")
    add(
        "--processes",
        type=whole(1),
        default=1,
        metavar="N",
        help="that train a cell together, on a GPU each (default: 1)",
    )
    add(
        "--trials-per-pass",
        type=whole(1),
        default=1,
        metavar="K",
        help="trials of a method on one task that differ only in rates, trained at once on one "
        "copy of the frozen weights (default: 1)",
    )
    add("--tensorboard", action="store_true", help="write the course of each cell, to be watched")
    add("--address", metavar="HOST:PORT", help="of a Ray cluster (default: $RAY_ADDRESS, or none)")
    add(
        "--slurm",
        type=_sbatch_option,
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="an option of sbatch's: partition, time, gres ...; may be repeated",
    )


def request_of(args: argparse.Namespace) -> "request.Request":
    """Return the request that the options make, of `add_selection`, `add_study`, `add_tuning`."""
    return request.Request(
        suite=args.suite,
        methods=args.methods,
        backbones=args.backbones,
        tasks=args.tasks,
        seeds=args.seeds,
        recipe=args.recipe,
        changes=dict(args.changes) | ({"tuning.halving": True} if args.halving else {}),
        root=args.data_root,
        variant=args.variant,
        device=_device(args.device, getattr(args, "executor", "local")),
        tune=getattr(args, "tune", None),
        plugins=list(map(str, args.plugins)),
        study=getattr(args, "study", None),
        quick=getattr(args, "quick", False),
    )


def _device(name: str | None, executor: str) -> str:
    """Return a device of this machine, unless it is named for the machines of a cluster."""
    return name if name and executor in ("ray", "slurm") else devices.resolve_device(name)


def run_options_of(args: argparse.Namespace) -> "request.RunOptions":
    """Return what the options of `add_run_options` say."""
    return request.RunOptions(
        executor=args.executor,
        workers=args.workers,
        per_gpu=args.per_gpu,
        processes=args.processes,
        trials_per_pass=args.trials_per_pass,
        timeout=args.timeout,
        retries=args.retry,
        fail_fast=args.fail_fast,
        force=args.force,
        only=args.only,
        limit_cells=args.limit_cells,
        tensorboard=args.tensorboard,
        address=args.address,
        slurm=dict(args.slurm),
        plugins=args.plugins,
    )
