"""Run cells and regenerate the leaderboard."""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import rich.console

from bench.cli import common, tune
from bench.cli.common import FAILED, print_error, print_lines, print_result, write_tables
from bench.execution import plan_lines, progress, session
from bench.records import store
from bench.report import study_page


def add_options(parser: argparse.ArgumentParser) -> None:
    common.add_selection(parser)
    common.add_study(parser)
    common.add_results(parser)
    common.add_tuning(parser)
    common.add_run_options(parser)
    common.add_plugins(parser)


def run(args: argparse.Namespace) -> int:
    request, how, results = common.request_of(args), common.run_options_of(args), args.results
    write_pages = partial(_write_pages, results, args.study, args.quick)
    reporter = progress.Reporter(rich.console.Console(stderr=True), write_pages)
    if args.dry_run:
        return _print_plan(session.plan(request, results, how), results, how, reporter)
    ended = session.run(request, results, how, reporter)
    if not ended.has_run_finals:
        write_tables(results)
        return print_error(f"{ended.num_failed_trials} trials failed; no final was run", FAILED)
    page = _page(results, args.study, args.quick).read_text(encoding="utf-8")
    print_result(page.split("\n"))
    if ended.num_failed:
        print_error(f"{ended.num_failed} of {ended.num_cells} cells have no result", FAILED)
    if ended.tuning:
        _print_unfinished(ended.tuning, ended.num_failed_trials)
    return FAILED if ended.num_failed or ended.num_failed_trials else 0


def _write_pages(results: Path, study: str | None, is_quick: bool) -> None:
    """Write the tables, and the page of the study that was run."""
    if study:
        study_page.write_study_by_name(study, is_quick, results)
    write_tables(results)


def _page(results: Path, study: str | None, is_quick: bool) -> Path:
    """The page that is shown at the end of a run."""
    if study:
        return study_page.study_path_by_name(study, is_quick, results)
    return results / "leaderboard.md"


def _print_unfinished(state: "session.TuningState", failed: int) -> None:
    """Print how many searches have no final cells, and why."""
    if state.num_unfinished:
        why = f"{failed} trials failed" if failed else "not all of their trials were run"
        counts = f"{state.num_unfinished} of {len(state.searches)} searches"
        print_error(f"{counts} came to no final run: {why}", FAILED)


def _print_plan(
    planned: "session.SessionPlan",
    results: Path,
    how: "session.RunOptions",
    reporter: "progress.Reporter",
) -> int:
    """Print the cells that would be run, and how long they may take."""
    if planned.tuning:
        return print_lines(_tuned_lines(planned.finals, planned.tuning, results, how))
    cells = planned.finals.cells
    for line in (*plan_lines.data_warnings(cells), *plan_lines.method_warnings(cells)):
        reporter.announce(line)
    return print_lines(_untuned_lines(planned.finals, store.Store(results), how))


def _untuned_lines(
    finals: "session.Plan", records: "store.Store", how: "session.RunOptions"
) -> Iterator[str]:
    yield from plan_lines.cell_lines(finals)
    yield from plan_lines.backbone_lines(finals.cells)
    cells = session.select_cells(finals, records, how)
    duration = progress.describe_duration(cells, records)
    yield f"{len(cells)} of {len(finals.cells)} cells to run; {duration}"


def _tuned_lines(
    finals: "session.Plan",
    state: "session.TuningState",
    results: Path,
    how: "session.RunOptions",
) -> Iterator[str]:
    """The trials and final cells that are known, and how many there are to be."""
    yield from tune.trial_lines(state, results, how)
    yield from plan_lines.cell_lines(finals)
    trials = {cell.digest for cell in tune.due_trials(state, results, how)}
    cells = session.select_cells(finals, store.Store(results), how, trials)
    yield f"{len(cells)} of {len(finals.cells)} final runs to run{state.describe_waiting()}"
