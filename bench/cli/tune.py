"""What `run --tune` does, with its dry run and its status, and `tune`: trials first, then finals.

torch is imported only by what computes.
"""

import argparse
from collections.abc import Iterator, Sequence
from itertools import islice
from time import time
from typing import TYPE_CHECKING

from bench.cli.commands import FAILED, print_error, print_lines, regenerate_tables
from bench.cli.run import (
    announce,
    backbone_lines,
    chosen,
    ended,
    executor_of,
    expected,
    page_of,
    print_cells,
    request_of,
    run_cells,
    run_finals,
    warn,
)
from bench.utils.errors import UserError

if TYPE_CHECKING:
    from bench.execution.plan import Plan
    from bench.execution.request import Request
    from bench.execution.tuning import Search, SearchState
    from bench.records.store import Store
    from bench.training.cell import Cell

    Looks = Sequence[tuple[Search, SearchState]]


def run(requests: "Sequence[Request]", args: argparse.Namespace, began: float) -> int:
    """All trials, then the finals of the searches whose trials are over."""
    from bench.execution import tuning
    from bench.records.store import Store

    searches, device = tuning.plan_all_searches(requests), requests[0].device
    tuning.require_finals(searches)
    failed, ran = _run_trials(searches, device, args, began)
    if failed and args.fail_fast:
        regenerate_tables(args.results)
        return print_error(f"{failed} trials failed; no final was run", FAILED)
    looks = _looks(searches, args)
    store, planned = Store(args.results), _finals(looks, args)
    executor = executor_of(args, args.results, device)
    try:
        lost = run_finals(planned, store, executor, _less(args, ran), began, "final runs")
    finally:
        executor.close()
    status = ended(lost, len(planned.cells), page_of(args))
    return _account(looks, failed) or status


def _account(looks: "Looks", failed: int) -> int:
    """Say which searches have no finals, and why; the exit status."""
    waiting = sum(look.best_point is None for _, look in looks)
    if waiting:
        why = f"{failed} trials failed" if failed else "not all of their trials were run"
        print_error(f"{waiting} of {len(looks)} searches came to no final run: {why}", FAILED)
    return FAILED if failed else 0


def _run_trials(
    searches: "Sequence[Search]", device: str, args: argparse.Namespace, began: float
) -> tuple[int, int]:
    """Run the trials, a rung after the other; how many failed, and how many were run."""
    from bench.execution import tuning

    store, tried, failed = tuning.trial_store(args.results), set[str](), 0
    warn(one.trial_cell(one.points[0], one.rungs[0].epochs) for one in searches)
    while True:
        cells = _new(searches, tried, args)
        if not cells or (failed and args.fail_fast):
            return failed, len(tried)
        for line in _backbone_lines(searches) if not tried else ():
            announce(line)
        announce(f"{len(cells)} trials to run, {_over(searches, args)}, on {device}")
        tried |= {cell.settings.digest() for cell in cells}
        executor = executor_of(args, store.root, device)
        try:
            failed += run_cells(cells, store, executor, args, began)
        finally:
            executor.close()


def _new(
    searches: "Sequence[Search]", tried: set[str], args: argparse.Namespace
) -> "Sequence[Cell]":
    """The trials that are to be run now: those due, or all where that is forced, but none twice."""
    from bench.execution import tuning

    found = []
    for _, look in _looks(searches, args):
        found += [cell for cell, _ in look.known_trials] if args.force else look.pending()
    cells = [cell for cell in found if cell.settings.digest() not in tried]
    return chosen(cells, tuning.trial_store(args.results), _less(args, len(tried)))


def _backbone_lines(searches: "Sequence[Search]") -> list[str]:
    first = (one.trial_cell(one.points[0], one.rungs[0].epochs) for one in searches)
    return backbone_lines(first)


def _less(args: argparse.Namespace, ran: int) -> argparse.Namespace:
    """The arguments, with so many fewer cells that may be run."""
    if args.limit_cells is None:
        return args
    return argparse.Namespace(**vars(args) | {"limit_cells": max(0, args.limit_cells - ran)})


def _looks(searches: "Sequence[Search]", args: argparse.Namespace) -> "Looks":
    from bench.execution import tuning

    store = tuning.trial_store(args.results)
    return [(one, one.state(store)) for one in searches]


def _over(searches: "Sequence[Search]", args: argparse.Namespace) -> str:
    """How many trials are over, of all that there are to be."""
    looks = _looks(searches, args)
    over = sum(len(look.known_trials) - len(look.pending()) for _, look in looks)
    return f"{over} of {sum(one.num_trials() for one in searches)} done before"


def _finals(looks: "Looks", args: argparse.Namespace) -> "Plan":
    """The final runs that can be planned."""
    from bench.execution import tuning
    from bench.execution.plan import Plan, is_done
    from bench.records.store import Store

    store, cells = Store(args.results), tuning.plan_finals(looks)
    done = {cell.settings.digest() for cell in cells if is_done(store.find(cell.settings))}
    ground = looks[0][0].resolved
    return Plan(ground.suite, cells, done, ground.request.device)


def print_plan(requests: "Sequence[Request]", args: argparse.Namespace) -> int:
    """The dry run: the trials and final runs that are known, and how many there are to be."""
    from bench.execution import tuning
    from bench.records.store import Store

    searches = tuning.plan_all_searches(requests)
    _print_trials(searches, args)
    print_lines(_backbone_lines(searches))
    looks = _looks(searches, args)
    planned = _finals(looks, args)
    print_cells(planned.cells, planned.done)
    left = planned.cells if args.force else planned.pending()
    rest = _less(args, len(_new(searches, set(), args)))
    count = len(chosen(left, Store(args.results), rest))
    return print_lines([f"{count} of {len(planned.cells)} final runs to run{_waiting(looks)}"])


def _print_trials(searches: "Sequence[Search]", args: argparse.Namespace) -> int:
    """A line for each trial that is known, and how many are to be run."""
    from bench.execution import tuning

    looks = _looks(searches, args)
    known = [cell for _, look in looks for cell, _ in look.known_trials]
    due = {cell.settings.digest() for _, look in looks for cell in look.pending()}
    print_cells(known, {cell.settings.digest() for cell in known} - due)
    new, every = _new(searches, set(), args), sum(one.num_trials() for one in searches)
    time_ = expected(new, tuning.trial_store(args.results))
    return print_lines([f"{len(new)} of {every} trials to run; {time_}"])


def _waiting(looks: "Looks") -> str:
    """How many final runs are not known yet, in words."""
    waiting = sum(len(one.resolved.seeds) for one, look in looks if look.best_point is None)
    return f"; {waiting} more wait for their trials" if waiting else ""


def status(requests: "Sequence[Request]", args: argparse.Namespace) -> int:
    """Count the trials and the final runs, and go on looking where that is asked for."""
    from bench.execution import tuning
    from bench.execution.status import watch

    searches = tuning.plan_all_searches(requests)
    for kind, cells, store in _stages(searches, args):
        looks = watch(cells, store)
        for lines in looks if args.watch else islice(looks, 1):
            print_lines([f"{kind}: {lines[0]}", *lines[1:]])
    every = sum(one.num_trials() for one in searches)
    return print_lines([f"{every} trials in all{_waiting(_looks(searches, args))}"])


def _stages(
    searches: "Sequence[Search]", args: argparse.Namespace
) -> "Iterator[tuple[str, list[Cell], Store]]":
    """The trials for as long as more come to be known, then the final runs; with their stores."""
    from bench.execution import tuning
    from bench.records.store import Store

    known = 0
    while True:
        looks = _looks(searches, args)
        cells = [cell for _, look in looks for cell, _ in look.known_trials]
        if len(cells) == known:
            break
        known = len(cells)
        yield "trials", cells, tuning.trial_store(args.results)
    finals = _finals(looks, args).cells
    if finals:
        yield "final runs", finals, Store(args.results)


def tune(args: argparse.Namespace) -> int:
    """The trials alone, and a table of them."""
    from bench.execution import tuning
    from bench.records.store import Store

    if args.seeds:
        raise UserError("trials have the seed of their recipe's tuning: --set tuning.seed=1, say")
    began, request = time(), request_of(args)
    Store(args.results).require_current_schema()
    searches = tuning.plan_searches(request)
    if args.dry_run:
        _print_trials(searches, args)
        return print_lines(_backbone_lines(searches))
    Store(args.results).require_writable()
    failed, _ = _run_trials(searches, request.device, args, began)
    looks = [look for _, look in _looks(searches, args)]
    print_lines([str(tuning.write_csv(looks, args.results)), *tuning.summary_lines(looks)])
    return print_error(f"{failed} trials failed", FAILED) if failed else 0
