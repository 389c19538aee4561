"""What each command does with its arguments: it calls out, prints, and gives the exit status.

torch is imported only by what computes.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.errors import UserError, first_line

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def complain(sentence: str, status: int) -> int:
    """Say what is wrong on standard error; the status."""
    print(f"bench: {sentence}", file=sys.stderr)
    return status


def device_of(name: str | None) -> str:
    """The name of a device that is there."""
    import torch

    found = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=found).item()
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"no device {found!r} here: {first_line(error)}") from None
    return found


def report(args: argparse.Namespace) -> int:
    from bench import reading

    _require_folder(args.results)
    papers = reading.Papers(args.papers, args.suite, args.recipe, args.against)
    papers.require_known()
    for path in report_tables(args.results):
        print(path)
    return say(reading.tables(args.results, papers)) if args.papers else 0


def claims(args: argparse.Namespace) -> int:
    import methods
    from bench import reading
    from bench.report.papers import claims

    _require_folder(args.results)
    claims.require_methods(reading.claims_of(args.papers), methods.names())
    return say(reading.judge(args.results, args.papers, args.recipe))


def show(args: argparse.Namespace) -> int:
    from bench import reading
    from bench.records import Store

    return say(reading.show(Store(args.results), args.cell))


def diff(args: argparse.Namespace) -> int:
    from bench import reading
    from bench.records import Store

    return say(reading.diff(Store(args.results), args.first, args.second))


def merge(args: argparse.Namespace) -> int:
    from bench import reading
    from bench.records import Store

    store = Store(args.results)
    store.require_writable()
    store.require_current()
    said, refused = reading.bring_in(args.paths, store)
    report_tables(args.results)
    return _account(said, refused)


def _account(said: Iterable[str], refused: Sequence[str]) -> int:
    """Print what was done, and complain of what was refused."""
    say(said)
    for problem in refused:
        print(f"bench: refused: {problem}", file=sys.stderr)
    return FAILED if refused else 0


def _require_folder(results: Path) -> None:
    from bench.records import Store

    if not results.is_dir():
        raise UserError(f"no results folder at {results}; name another with --results")
    Store(results).require_current()


def report_tables(results: Path) -> list[Path]:
    from bench.report import files

    made = files.regenerate(results)
    for problem in made.problems:
        print(f"bench: skipped: {problem}", file=sys.stderr)
    return made.written


def migrate(args: argparse.Namespace) -> int:
    from bench import migration

    if not args.results.is_dir():
        raise UserError(f"no results folder at {args.results}; name another with --results")
    problems: list[str] = []
    return _account(migration.migrate(args.results, problems), problems)


def verify(args: argparse.Namespace) -> int:
    from bench import reading
    from bench.records import Store
    from bench.report import files

    if args.paths:
        return _account(*reading.judge_others(args.paths))
    _require_folder(args.results)
    _, found = files.sound(Store(args.results))
    stale = [
        f"{path} is not what the records give; run `python -m bench report`"
        for path in files.stale(args.results)
    ]
    for problem in [*found, *stale]:
        print(f"bench: {problem}", file=sys.stderr)
    count = len(Store(args.results).files())
    print(f"{count} records, {len(found)} unsound; {len(stale)} tables out of date")
    return FAILED if found or stale else 0


def listed(args: argparse.Namespace) -> int:
    from bench import listing

    for line in listing.LISTS[args.what](args.suite):
        print(line)
    return 0


def check_method(args: argparse.Namespace) -> int:
    from bench import tools

    broken = False
    for line in tools.check_method(args.name):
        print(line, flush=True)
        broken |= line.startswith(tools.BROKEN)
    return FAILED if broken else 0


def export(args: argparse.Namespace) -> int:
    from bench import reading, tools

    if args.format:
        return say(reading.export(args.results, args.format, args.out))
    device = device_of(args.device)
    return say(tools.export(args.record, args.out, args.merged, args.data_root, device))


def cost(args: argparse.Namespace) -> int:
    from bench import tools
    from bench.records import Store

    Store(args.results).require_writable()
    work = (args.recipe, args.batch, device_of(args.device))
    return say(tools.cost(args.methods, args.backbones, work, args.rounds, args.results))


def performance(args: argparse.Namespace) -> int:
    from bench.performance import page
    from bench.records import Store

    Store(args.results).require_writable()
    return say(page.write(args.results, device_of(args.device), args.only))


def parameters(args: argparse.Namespace) -> int:
    from bench import tools

    return say(tools.parameters(args.results))


def pretrain(args: argparse.Namespace) -> int:
    from bench import tools

    images, out = args.images, args.out
    return say(tools.pretrain(args.objective, args.size, images, out, args.epochs, args.seed))


def say(lines: Iterable[str]) -> int:
    for line in lines:
        print(line, flush=True)
    return 0
