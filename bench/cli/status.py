"""Show how many cells are done, running, failed and left."""

import argparse
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from bench.cli import options
from bench.cli.common import print_lines
from bench.cli.parsing import Parser
from bench.cli.requests import request_of
from bench.execution import progress, session, tuning
from bench.records import store

EXAMPLES = (
    "status --suite vtab1k --methods vpt_deep",
    "status --study spt2024/fig2 --quick",
    "status --suite vtab1k --watch --results results_gpu",
)


def add_options(parser: Parser) -> None:
    options.add_selection(parser)
    options.add_study(parser)
    options.add_results(parser)
    options.add_tuning(parser)
    parser.add_argument(
        "--watch",
        action="store_true",
        help="print the status again whenever it changes, until all cells are done",
    )
    options.add_plugins(parser)


def run(args: argparse.Namespace) -> int:
    request, results = request_of(args), args.results
    records, last = store.Store(results), None if args.watch else 1
    records.require_current_schema()
    requests = session.tuned_requests(request)
    if requests:
        searches = tuning.plan_all_searches(requests)
        return print_lines(_tuned_lines(searches, results, last))
    cells = session.plan_untuned(request, results).cells
    for lines in islice(progress.watch(cells, records), last):
        print_lines(lines)
    return 0


def _tuned_lines(
    searches: "Sequence[tuning.Search]", results: Path, last: int | None
) -> Iterator[str]:
    """Counts of the trials, for as long as more come to be known, and of the final runs."""
    known, state = 0, session.tuning_state(searches, results)
    while len(state.trials.cells) > known:
        known = len(state.trials.cells)
        for lines in islice(progress.watch(state.trials.cells, tuning.trial_store(results)), last):
            yield from [f"trials: {lines[0]}", *lines[1:]]
        state = session.tuning_state(searches, results)
    finals = session.plan_finals(state, results).cells
    for lines in islice(progress.watch(finals, store.Store(results)), last) if finals else ():
        yield from [f"final runs: {lines[0]}", *lines[1:]]
    waiting = session.tuning_state(searches, results).describe_waiting()
    yield f"{state.num_trials} trials in all{waiting}"
