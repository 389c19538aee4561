"""What the commands that run cells do: run, status, tune, worker.

torch is imported only by what computes.
"""

import argparse
from itertools import islice
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

from bench.acts import FAILED, complain, device_of, report_tables, say
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.executors import Executor
    from bench.plan import Plan, Request
    from bench.records import Store
    from bench.runner import Cell


def request_of(args: argparse.Namespace) -> "Request":
    from bench.plan import Request

    return Request(
        suite=args.suite,
        methods=args.methods,
        backbones=args.backbones,
        tasks=args.tasks,
        seeds=args.seeds,
        recipe=args.recipe,
        changes=dict(args.changes),
        root=args.data_root,
        variant=args.variant,
        device=device_of(args.device),
    )


def _plan(args: argparse.Namespace, store: "Store") -> "Plan":
    """What is asked for: a study's cells, or those that the options name."""
    from bench import plan

    if args.study:
        from bench.studies import asking

        return asking.plan(args.study, args.quick, request_of(args), store)
    if args.quick:
        raise UserError("--quick says how to run a study: name it with --study")
    return plan.make(request_of(args), store)


def run(args: argparse.Namespace) -> int:
    from bench.records import Store

    began, store = time(), Store(args.results)
    if args.dry_run:
        return _print_plan(_plan(args, store), store, args)
    store.require_writable()
    executor = _executor(args, device_of(args.device))
    try:  # its processes start while the cells are planned
        planned = _plan(args, store)
        failed = _run_cells(planned, store, executor, args, began)
    finally:
        executor.close()
    print(_page(args).read_text())
    if failed:
        return complain(f"{failed} of {len(planned.cells)} cells have no result", FAILED)
    return 0


def _report(args: argparse.Namespace) -> None:
    """Write the tables, and what the study shows that is asked for."""
    if args.study:
        from bench.studies import asking

        asking.write(args.study, args.quick, args.results)
    report_tables(args.results)


def _page(args: argparse.Namespace) -> Path:
    """What is read at the end of a run."""
    if not args.study:
        return args.results / "leaderboard.md"
    from bench.studies import asking

    return asking.page(args.study, args.quick, args.results)


def _executor(args: argparse.Namespace, device: str) -> "Executor":
    from bench.executors import choosing

    asked = choosing.Asked(args.workers, args.per_gpu, args.timeout, args.plugins)
    return choosing.make(args.executor, args.results, device, asked)


def _run_cells(
    planned: "Plan", store: "Store", executor: "Executor", args: argparse.Namespace, began: float
) -> int:
    """Run what is chosen, and regenerate the tables whatever happens; how many cells failed."""
    from rich.console import Console

    from bench.claims import Claims
    from bench.console import Display
    from bench.grid import Grid, Rules

    cells, console = _chosen(planned, store, args), Console(stderr=True)
    done = len(planned.done)
    console.print(
        f"{len(cells)} cells to run, {done} done before, on {planned.device}", highlight=False
    )
    epochs = max((cell.recipe.epochs for cell in cells), default=1)
    rules = Rules(args.retry, args.fail_fast)
    try:
        with Display(console, len(cells), epochs).shown() as display:
            claims = Claims(args.results)
            return Grid(executor, store, claims, display, planned.device, rules, began).run(cells)
    finally:  # an interrupted run leaves tables of what it finished
        _report(args)


def _chosen(planned: "Plan", store: "Store", args: argparse.Namespace) -> "list[Cell]":
    """The cells that are to be run this time."""
    cells = planned.cells if args.force else planned.left()
    if args.only == "failed":
        cells = [cell for cell in cells if store.find(cell.settings)]
    return cells[: args.limit_cells]


def _print_plan(planned: "Plan", store: "Store", args: argparse.Namespace) -> int:
    from bench import estimates
    from bench.console import duration, title

    for cell in planned.cells:
        state = "done" if cell.settings.digest() in planned.done else "to run"
        print(f"{state:7} {title(cell.settings)}")
    chosen = _chosen(planned, store, args)
    known = estimates.read(store, planned.suite.name)
    seconds = known.seconds(cell.settings for cell in chosen)
    rest = f"about {duration(seconds)}, as {known.count} earlier ones went"
    none = "no earlier cell of this suite to estimate the time from"
    print(f"{len(chosen)} of {len(planned.cells)} cells to run; {rest if known.count else none}")
    return 0


def status(args: argparse.Namespace) -> int:
    from bench import watching
    from bench.records import Store

    store = Store(args.results)
    planned = _plan(args, store)
    looks = watching.watch(planned.cells, store)
    for lines in looks if args.watch else islice(looks, 1):
        say(lines)
    return 0


def tune(args: argparse.Namespace) -> int:
    from bench import tools
    from bench.records import Store

    store = Store(args.results)
    store.require_writable()
    return say(tools.tune(request_of(args), store))


def worker(args: argparse.Namespace) -> int:
    import sys

    from bench import worker

    replies = worker.apart()
    worker.serve(args.results, sys.stdin, replies)
    return 0
