"""Check the records, and the tables against them; or others' records."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from bench.cli import common
from bench.cli.common import FAILED, print_error, print_refused, print_result, require_results
from bench.records import store
from bench.report import generate, record_checks
from bench.utils.errors import UserError


def add_options(parser: argparse.ArgumentParser) -> None:
    common.add_results(parser)
    parser.add_argument(
        "paths", type=Path, nargs="*", metavar="PATH", help="others' records: files or folders"
    )


def run(args: argparse.Namespace) -> int:
    if args.paths:
        return _verify_others(args.paths)
    require_results(args.results)
    records = store.Store(args.results)
    _, unsound = store.read_valid(records)
    stale = [
        f"{path} is not what the records give; run `python -m bench report`"
        for path in generate.stale_files(args.results)
    ]
    for problem in [*unsound, *stale]:
        print_error(problem, FAILED)
    counts = f"{len(records.files())} records, {len(unsound)} unsound"
    print_result([f"{counts}; {len(stale)} tables out of date"])
    return FAILED if unsound or stale else 0


def _verify_others(paths: Sequence[Path]) -> int:
    """Print how many of others' records are accepted, and why the rest is refused."""
    checked = record_checks.check_records(paths)
    if not checked:
        raise UserError(f"no record below {shlex.join(map(str, paths))}")
    refused = [one for one in checked if one.problems]
    print_result([f"{len(checked) - len(refused)} records accepted, {len(refused)} refused"])
    return print_refused([problem for one in checked for problem in one.problems])
