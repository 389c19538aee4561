"""What the commands ``data ...`` do with their arguments."""

import argparse
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from bench.cli.commands import FAILED, print_error, print_lines

if TYPE_CHECKING:
    from bench.utils.progress_bars import TransferProgress


def status(args: argparse.Namespace) -> int:
    from bench.prepare.status import status_lines

    return print_lines(status_lines(args.suites, args.data_root))


def prepare(args: argparse.Namespace) -> int:
    from bench.prepare import pipeline

    jobs = pipeline.plan_jobs(pipeline.PrepareRequest(args.suite, args.tasks, args.data_root))
    accepted, force = args.accept_license, args.force
    return _shown(
        lambda show, failed: pipeline.prepare_sources(jobs, accepted, force, show, failed)
    )


def bring_in(args: argparse.Namespace) -> int:
    from bench.prepare import pipeline

    wanted = pipeline.PrepareRequest(args.suite, args.tasks, args.data_root, args.variant)
    return _shown(
        lambda show, failed: pipeline.import_tasks(args.path, wanted, show.on_images, failed)
    )


def check(args: argparse.Namespace) -> int:
    from bench.prepare import pipeline

    wanted = pipeline.PrepareRequest(args.suite, args.tasks, args.data_root, args.variant)
    return _shown(lambda _, failed: pipeline.check_tasks(wanted, args.deep, failed))


def _shown(command: "Callable[[TransferProgress, list[str]], Iterable[str]]") -> int:
    """Print what a command does as it does it, and complain of what it could not do."""
    from rich.console import Console

    from bench.utils.progress_bars import TransferProgress

    failed: list[str] = []
    with TransferProgress(Console(stderr=True)).live() as show:
        print_lines(command(show, failed))
    for problem in failed:
        print_error(problem, FAILED)
    return FAILED if failed else 0
