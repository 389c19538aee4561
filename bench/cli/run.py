"""Train and evaluate the selected cells, and write the leaderboard."""

import argparse
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import rich.console

from bench.cli import common, options, requests, tune
from bench.cli.common import (
    FAILED,
    print_error,
    print_lines,
    print_note,
    print_result,
    write_tables,
)
from bench.cli.parsing import Parser
from bench.execution import completed_runs, plan_lines, progress, session, session_state
from bench.records import store
from bench.report import boards, generate, study_page, terminal

EXAMPLES = (
    "run --results demo",
    "run --suite vtab1k --methods vpt_deep,spt_deep --data-root /data",
    "run --suite mini --methods lora --set lr=0.01 --seeds 0,1,2 --workers 4",
)


def add_options(parser: Parser) -> None:
    options.add_selection(parser)
    options.add_study(parser)
    options.add_results(parser)
    options.add_tuning(parser)
    options.add_run_options(parser)
    options.add_plugins(parser)


def run(args: argparse.Namespace) -> int:
    completed = completed_runs.CompletedRun(args.results, vars(args))
    if sentence := completed.sentence():
        return print_note(sentence)
    request, how, results = requests.request_of(args), requests.run_options_of(args), args.results
    pages = Pages(results, args.study, args.quick)
    reporter = progress.Reporter(rich.console.Console(stderr=True), pages.write)
    if args.dry_run:
        return _print_plan(session.plan(request, results, how), results, how, reporter)
    ended = session.run(request, results, how, reporter)
    if not ended.has_run_finals:
        write_tables(results)
        return print_error(
            f"{ended.num_failed_trials} trials failed; the final runs were not started", FAILED
        )
    if ended.num_run:
        print_result(pages.lines(ended.cells, common.output_width()))
    if ended.is_complete and ended.rests_on_package_alone:
        completed.keep(
            ended.nothing_left(results), (*ended.records, *generate.current_files(results))
        )
    if ended.num_failed:
        print_error(f"{ended.num_failed} of {ended.num_cells} cells have no result", FAILED)
    if ended.tuning:
        _print_unfinished(ended.tuning, ended.num_failed_trials)
    return FAILED if ended.num_failed or ended.num_failed_trials else 0


@dataclass
class Pages:
    """The tables of a results folder, written at the end of a run, and what is shown of them."""

    results: Path
    study: str | None
    is_quick: bool
    boards: "Sequence[boards.Board]" = ()

    def write(self) -> None:
        """Write the tables, and the page of the study that was run, unless they are current."""
        if not self.study and generate.is_current(self.results):
            return
        if self.study:
            study_page.write_study_by_name(self.study, self.is_quick, self.results)
        self.boards = write_tables(self.results).boards

    def lines(self, cells: Collection[str], width: int | None) -> Iterator[str]:
        """Yield the boards of these cells, and the paths of what was written."""
        for board in terminal.boards_of(self.boards, cells):
            yield from terminal.board_lines(board, width)
            yield ""
        if self.study:
            page = study_page.study_path_by_name(self.study, self.is_quick, self.results)
            yield f"study        {page}"
        yield f"leaderboard  {self.results / generate.LEADERBOARD_FILE}"
        yield f"web page     {self.results / generate.PAGE_FILE}"
        yield f"records      {self.results / store.RECORDS_DIR}"


def _print_unfinished(state: "session_state.TuningState", failed: int) -> None:
    """Print how many searches have no final cells, and why."""
    if state.num_unfinished:
        why = f"{failed} trials failed" if failed else "not all of their trials were run"
        counts = f"{state.num_unfinished} of {len(state.searches)} searches"
        print_error(f"{counts} have no final run: {why}", FAILED)


def _print_plan(
    planned: "session_state.SessionPlan",
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
    state: "session_state.TuningState",
    results: Path,
    how: "session.RunOptions",
) -> Iterator[str]:
    """The trials and final cells that are known, and how many there are to be."""
    yield from tune.trial_lines(state, results, how)
    yield from plan_lines.cell_lines(finals)
    trials = {cell.digest for cell in tune.due_trials(state, results, how)}
    cells = session.select_cells(finals, store.Store(results), how, trials)
    yield f"{len(cells)} of {len(finals.cells)} final runs to run{state.describe_waiting()}"
