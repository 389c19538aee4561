"""Run only the tuning trials of `run --tune`, and write a table of them."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import rich.console

from bench.cli import options, requests
from bench.cli.common import FAILED, print_error, print_lines, print_result
from bench.cli.parsing import Parser
from bench.execution import plan_lines, progress, session, session_state, tuning
from bench.training import cell

EXAMPLES = (
    "tune --suite mini --methods lora",
    "tune --suite vtab1k --tasks svhn --methods vpt_deep --data-root /data",
    "tune --suite mini --methods lora --halving --dry-run",
)


def add_options(parser: Parser) -> None:
    options.add_selection(parser)
    options.add_results(parser)
    options.add_halving(parser)
    options.add_run_options(parser)
    options.add_plugins(parser)


def run(args: argparse.Namespace) -> int:
    request, how, results = requests.request_of(args), requests.run_options_of(args), args.results
    if args.dry_run:
        state = session.tuning_state(session.plan_trials(request, results), results)
        return print_lines(trial_lines(state, results, how))
    reporter = progress.Reporter(rich.console.Console(stderr=True))
    ended = session.tune(request, results, how, reporter)
    states = [state for _, state in ended.tuning.searches] if ended.tuning else []
    print_result([tuning.write_csv(states, results), *tuning.summary_lines(states)])
    failed = ended.num_failed_trials
    return print_error(f"{failed} trials failed", FAILED) if failed else 0


def trial_lines(
    state: "session_state.TuningState", results: Path, how: "session.RunOptions"
) -> Iterator[str]:
    """The trials that are known, how many are to be run, and the backbones."""
    yield from plan_lines.cell_lines(state.trials)
    due = due_trials(state, results, how)
    duration = progress.describe_duration(due, tuning.trial_store(results))
    yield f"{len(due)} of {state.num_trials} trials to run; {duration}"
    yield from plan_lines.backbone_lines(one.first_trial() for one, _ in state.searches)


def due_trials(
    state: "session_state.TuningState", results: Path, how: "session.RunOptions"
) -> "Sequence[cell.Cell]":
    """The trials that would be run first."""
    return session.select_cells(state.trials, tuning.trial_store(results), how)
