"""What the commands that run cells do: run, status, worker.

torch is imported only by what computes.
"""

import argparse
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

from bench.cli.commands import FAILED, print_error, print_lines, regenerate_tables
from bench.utils.errors import UserError

if TYPE_CHECKING:
    from bench.execution.executors import Executor
    from bench.execution.plan import Plan
    from bench.execution.request import Request
    from bench.records.store import Store
    from bench.training.cell import Cell


def request_of(args: argparse.Namespace) -> "Request":
    from bench.execution.request import Request

    halving = {"tuning.halving": True} if args.halving else {}
    return Request(
        suite=args.suite,
        methods=args.methods,
        backbones=args.backbones,
        tasks=args.tasks,
        seeds=args.seeds,
        recipe=args.recipe,
        changes=dict(args.changes) | halving,
        root=args.data_root,
        variant=args.variant,
        device=_device(args),
        tune=getattr(args, "tune", None),
        plugins=list(map(str, args.plugins)),
    )


def _device(args: argparse.Namespace) -> str:
    """That of this machine, unless it is named for others."""
    from bench.training.devices import resolve_device

    elsewhere = getattr(args, "executor", "local") in ("ray", "slurm") and args.device
    return args.device if elsewhere else resolve_device(args.device)


def plan_of(args: argparse.Namespace, request: "Request", store: "Store") -> "Plan":
    """What is asked for: a study's cells, or those that the options name."""
    from bench.execution import plan

    if args.study:
        from bench.execution import study_plan

        planned = study_plan.plan_study_by_name(args.study, args.quick, request, store)
        _require_alone(planned, args)
        return planned
    if args.quick:
        raise UserError("--quick says how to run a study: name it with --study")
    return plan.make_plan(request, store)


def _require_alone(planned: "Plan", args: argparse.Namespace) -> None:
    """Raise `UserError` where a cell that is measured would be several processes'."""
    if getattr(args, "processes", 1) > 1 and any(cell.measurements for cell in planned.cells):
        raise UserError("a study that measures needs cells of one process; leave out --processes")


def _searched(args: argparse.Namespace, request: "Request") -> "list[Request]":
    """What is asked for, where trials come first: of a study, its card says so; else nothing."""
    from bench.execution import plan

    if not args.study:
        return [request] if plan.wants_tuning(request) else []
    from bench.execution import study_plan

    return [
        one
        for one in study_plan.tuning_requests(args.study, args.quick, request)
        if plan.wants_tuning(one)
    ]


def run(args: argparse.Namespace) -> int:
    from bench.cli import tune
    from bench.records.store import Store
    from bench.training import callbacks

    began, store, request = time(), Store(args.results), request_of(args)
    store.require_current_schema()
    searched = _searched(args, request)
    if args.dry_run:
        return tune.print_plan(searched, args) if searched else _print_plan(request, args)
    store.require_writable()
    if args.tensorboard:
        callbacks.require_tensorboard()
    if searched:
        return tune.run(searched, args, began)
    executor = executor_of(args, args.results, request.device)
    try:  # its processes start while the cells are planned
        planned = plan_of(args, request, store)
        failed = run_finals(planned, store, executor, args, began)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(executor.left_running()) from None
    finally:
        executor.close()
    return ended(failed, len(planned.cells), page_of(args))


def _report(args: argparse.Namespace) -> None:
    """Write the tables, and what the study shows that is asked for."""
    if args.study:
        from bench.report import study_page

        study_page.write_study_by_name(args.study, args.quick, args.results)
    regenerate_tables(args.results)


def page_of(args: argparse.Namespace) -> Path:
    """What is read at the end of a run."""
    if not args.study:
        return args.results / "leaderboard.md"
    from bench.report import study_page

    return study_page.study_path_by_name(args.study, args.quick, args.results)


def ended(failed: int, count: int, page: Path) -> int:
    """Show a page, and complain where cells have no result; the exit status."""
    print(page.read_text())
    return print_error(f"{failed} of {count} cells have no result", FAILED) if failed else 0


def executor_of(args: argparse.Namespace, results: Path, device: str) -> "Executor":
    """What runs cells whose records are kept in that folder."""
    from bench.execution.executors import factory

    own = (args.workers, args.per_gpu, args.timeout, args.plugins, args.processes)
    asked = factory.ExecutorOptions(*own, args.address, dict(args.slurm))
    return factory.make_executor(args.executor, results, device, asked)


def run_finals(
    planned: "Plan",
    store: "Store",
    executor: "Executor",
    args: argparse.Namespace,
    began: float,
    kind: str = "cells",
) -> int:
    """Run what is chosen, and regenerate the tables whatever happens; how many cells failed."""
    warn(planned.cells)
    cells = chosen(planned.cells if args.force else planned.pending(), store, args)
    for line in backbone_lines(cells):
        announce(line)
    announce(f"{len(cells)} {kind} to run, {len(planned.done)} done before, on {planned.device}")
    try:
        return run_cells(cells, store, executor, args, began)
    finally:  # an interrupted run leaves tables of what it finished
        _report(args)


def run_cells(
    cells: "Sequence[Cell]",
    store: "Store",
    executor: "Executor",
    args: argparse.Namespace,
    began: float,
) -> int:
    """Run cells; how many of them failed. The executor is closed in any case."""
    from rich.console import Console

    from bench.execution import jobs
    from bench.execution.progress import RunProgress
    from bench.execution.scheduler import FailurePolicy, Scheduler
    from bench.records.leases import Leases

    epochs = max((cell.recipe.epochs for cell in cells), default=1)
    rules, how = (
        FailurePolicy(args.retry, args.fail_fast),
        jobs.RunOptions(args.processes, args.tensorboard),
    )
    with RunProgress(Console(stderr=True), len(cells), epochs).live() as display:
        claims, device = Leases(store.root), _device(args)
        return Scheduler(executor, store, claims, display, device, rules, began, how).run(cells)


def chosen(cells: "Sequence[Cell]", store: "Store", args: argparse.Namespace) -> "Sequence[Cell]":
    """Of the cells, those that are to be run this time."""
    if args.only == "failed":
        cells = [cell for cell in cells if store.find(cell.settings)]
    return cells[: args.limit_cells]


def warn(cells: "Iterable[Cell]") -> None:
    """Say on standard error what is odd about the data of cells, each oddity once."""
    for said in dict.fromkeys(said for cell in cells for said in cell.data_warnings):
        announce(f"bench: {said}")


def announce(text: str) -> None:
    """Say on standard error what comes."""
    from rich.console import Console

    Console(stderr=True).print(text, highlight=False, soft_wrap=True)


def _print_plan(request: "Request", args: argparse.Namespace) -> int:
    from bench.records.store import Store

    store = Store(args.results)
    planned = plan_of(args, request, store)
    warn(planned.cells)
    print_cells(planned.cells, planned.done)
    print_lines(backbone_lines(planned.cells))
    cells = chosen(planned.cells if args.force else planned.pending(), store, args)
    print(f"{len(cells)} of {len(planned.cells)} cells to run; {expected(cells, store)}")
    return 0


def print_cells(cells: "Sequence[Cell]", done: set[str]) -> None:
    """A line a cell; `done` holds the names of those that are."""
    from bench.records.description import describe_cell

    for cell in cells:
        print(f"{'done' if cell.settings.digest() in done else 'to run':7} {describe_cell(cell)}")


def backbone_lines(cells: "Iterable[Cell]") -> list[str]:
    """A line for each backbone of the cells: its input, its weights, and how it was found."""
    from bench.config import backbone

    found = {}
    for cell in cells:
        s, notes = cell.settings, cell.backbone.notes
        how = backbone.describe_input(s.input, s.recipe["normalisation"])
        line = f"backbone {s.backbone}: {how}; weights {s.weights[:12]}"
        found["; ".join([line, *notes])] = True
    return list(found)


def expected(cells: "Sequence[Cell]", store: "Store") -> str:
    """How long cells may take, in words."""
    from bench.execution.status import estimate_durations
    from bench.utils.text import format_duration

    if not cells:
        return "nothing is left"
    known = estimate_durations(store, cells[0].settings.suite)
    if not known.count:
        return "no earlier cell of this suite to estimate the time from"
    seconds = known.total_seconds(cell.settings for cell in cells)
    return f"about {format_duration(seconds)}, as {known.count} earlier ones went"


def status(args: argparse.Namespace) -> int:
    from bench.cli import tune
    from bench.execution.status import watch
    from bench.records.store import Store

    request, store = request_of(args), Store(args.results)
    store.require_current_schema()
    searched = _searched(args, request)
    if searched:
        return tune.status(searched, args)
    looks = watch(plan_of(args, request, store).cells, store)
    for lines in looks if args.watch else islice(looks, 1):
        print_lines(lines)
    return 0


def worker(args: argparse.Namespace) -> int:
    from bench.execution.worker import isolate_stdio, serve

    given, replies = isolate_stdio()
    serve(args.results, given, replies)
    return 0
