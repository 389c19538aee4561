"""What the commands ``data ...`` do with their arguments."""

import argparse
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from bench.acts import FAILED, complain, say

if TYPE_CHECKING:
    from bench.console import Transfer


def status(args: argparse.Namespace) -> int:
    from bench.prepare import status

    return say(status.lines(args.suites, args.data_root))


def prepare(args: argparse.Namespace) -> int:
    from bench.prepare import commands

    jobs = commands.jobs(commands.Wanted(args.suite, args.tasks, args.data_root))
    accepted, force = args.accept_license, args.force
    return _shown(lambda show, failed: commands.prepare(jobs, accepted, force, show, failed))


def bring_in(args: argparse.Namespace) -> int:
    from bench.prepare import commands

    wanted = commands.Wanted(args.suite, args.tasks, args.data_root, args.variant)
    return _shown(lambda show, failed: commands.bring(args.path, wanted, show.images, failed))


def check(args: argparse.Namespace) -> int:
    from bench.prepare import commands

    wanted = commands.Wanted(args.suite, args.tasks, args.data_root, args.variant)
    return _shown(lambda _, failed: commands.check(wanted, args.deep, failed))


def _shown(command: "Callable[[Transfer, list[str]], Iterable[str]]") -> int:
    """Print what a command does as it does it, and complain of what it could not do."""
    from rich.console import Console

    from bench.console import Transfer

    failed: list[str] = []
    with Transfer(Console(stderr=True)).shown() as show:
        say(command(show, failed))
    for problem in failed:
        complain(problem, FAILED)
    return FAILED if failed else 0
