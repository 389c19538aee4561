"""What each command does with its arguments: it calls out, prints, and gives the exit status.

torch is imported only by what computes.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.utils.errors import UserError

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def print_error(sentence: str, status: int) -> int:
    """Say what is wrong on standard error; the status."""
    print(f"bench: {sentence}", file=sys.stderr)
    return status


def report(args: argparse.Namespace) -> int:
    from bench.cli import record_commands

    _require_folder(args.results)
    papers = record_commands.Papers(args.papers, args.suite, args.recipe, args.against)
    papers.require_known()
    for path in regenerate_tables(args.results):
        print(path)
    return print_lines(record_commands.tables(args.results, papers)) if args.papers else 0


def claims(args: argparse.Namespace) -> int:
    import methods
    from bench.cli import record_commands
    from bench.papers.claims import require_methods

    _require_folder(args.results)
    require_methods(record_commands.claims_of(args.papers), methods.names())
    return print_lines(record_commands.judge(args.results, args.papers, args.recipe))


def show(args: argparse.Namespace) -> int:
    from bench.cli import record_commands
    from bench.records.store import Store

    return print_lines(record_commands.show(Store(args.results), args.cell))


def diff(args: argparse.Namespace) -> int:
    from bench.cli import record_commands
    from bench.records.store import Store

    return print_lines(record_commands.diff(Store(args.results), args.first, args.second))


def merge(args: argparse.Namespace) -> int:
    from bench.cli import record_commands
    from bench.records.store import Store

    store = Store(args.results)
    store.require_writable()
    store.require_current_schema()
    said, refused = record_commands.bring_in(args.paths, store)
    regenerate_tables(args.results)
    return _account(said, refused)


def _account(said: Iterable[str], refused: Sequence[str]) -> int:
    """Print what was done, and complain of what was refused."""
    print_lines(said)
    for problem in refused:
        print(f"bench: refused: {problem}", file=sys.stderr)
    return FAILED if refused else 0


def _require_folder(results: Path) -> None:
    from bench.records.store import Store

    if not results.is_dir():
        raise UserError(f"no results folder at {results}; name another with --results")
    Store(results).require_current_schema()


def regenerate_tables(results: Path) -> list[Path]:
    from bench.report import generate

    made = generate.regenerate(results)
    for problem in made.problems:
        print(f"bench: skipped: {problem}", file=sys.stderr)
    return made.written


def migrate(args: argparse.Namespace) -> int:
    from bench.execution import migration

    if not args.results.is_dir():
        raise UserError(f"no results folder at {args.results}; name another with --results")
    problems: list[str] = []
    return _account(migration.migrate(args.results, problems), problems)


def verify(args: argparse.Namespace) -> int:
    from bench.cli import record_commands
    from bench.records.store import Store, read_valid
    from bench.report import generate

    if args.paths:
        return _account(*record_commands.judge_others(args.paths))
    _require_folder(args.results)
    _, found = read_valid(Store(args.results))
    stale = [
        f"{path} is not what the records give; run `python -m bench report`"
        for path in generate.stale_files(args.results)
    ]
    for problem in [*found, *stale]:
        print(f"bench: {problem}", file=sys.stderr)
    count = len(Store(args.results).files())
    print(f"{count} records, {len(found)} unsound; {len(stale)} tables out of date")
    return FAILED if found or stale else 0


def listed(args: argparse.Namespace) -> int:
    from bench.cli import listing

    for line in listing.LISTS[args.what](args.suite):
        print(line)
    return 0


def check_method(args: argparse.Namespace) -> int:
    from bench.cli import tool_commands

    broken = False
    for line in tool_commands.check_method(args.name):
        print(line, flush=True)
        broken |= line.startswith(tool_commands.BROKEN)
    return FAILED if broken else 0


def export(args: argparse.Namespace) -> int:
    from bench.cli import record_commands, tool_commands
    from bench.training.devices import resolve_device

    if args.format:
        return print_lines(record_commands.export(args.results, args.format, args.out))
    device = resolve_device(args.device)
    return print_lines(
        tool_commands.export(args.record, args.out, args.merged, args.data_root, device)
    )


def cost(args: argparse.Namespace) -> int:
    from bench.cli import tool_commands
    from bench.records.store import Store
    from bench.training.devices import resolve_device

    Store(args.results).require_writable()
    work = (args.recipe, args.batch, resolve_device(args.device))
    return print_lines(
        tool_commands.cost(args.methods, args.backbones, work, args.rounds, args.results)
    )


def performance(args: argparse.Namespace) -> int:
    from bench.performance import page
    from bench.records.store import Store
    from bench.training.devices import resolve_device

    Store(args.results).require_writable()
    return print_lines(page.measure_and_write(args.results, resolve_device(args.device), args.only))


def parameters(args: argparse.Namespace) -> int:
    from bench.cli import tool_commands

    return print_lines(tool_commands.parameters(args.results))


def pretrain(args: argparse.Namespace) -> int:
    from bench.cli import tool_commands

    images, out = args.images, args.out
    return print_lines(
        tool_commands.pretrain(args.objective, args.size, images, out, args.epochs, args.seed)
    )


def print_lines(lines: Iterable[str]) -> int:
    for line in lines:
        print(line, flush=True)
    return 0
