"""The ledgers: what a leaderboard does not say of selection, tuning, initialisation and cost."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from bench.errors import UserError
from bench.records import PROMPTS_FROM, Record
from bench.report import footers, tuning
from bench.report.grouping import canonical, gather
from bench.report.leaderboard import Board
from bench.report.rows import machine
from bench.report.text import on, table

NOTICE = "<!-- made by `python -m bench report` from the records; do not edit -->"
TUNING, COST = "tuning.csv", "cost.csv"
WORDS = frozenset({"suite", "backbone", "recipe", "method", "machine", "task"})
Lines = list[dict[str, str]]


def markdown(boards: Sequence[Board], records: Sequence[Record], results: Path) -> str:
    """All ledgers that have a line; the trials and the costs are read from the results folder."""
    trials, costs = _lines(results / TUNING), _lines(results / COST)
    parts = [NOTICE, "# Ledgers"]
    for title, said, lines in (
        ("Selection bias", SELECTION, selection_bias(boards)),
        ("Tuning", TRIALS, tuning.spent(boards, records)),
        ("Tuning regret", REGRET, tuning.regret(records, trials)),
        ("Initialisation", INIT, init_shares(records)),
        ("Cost on the same work", COSTS, cost(costs)),
    ):
        parts += [f"## {title}", said, table(lines, WORDS) if lines else "Nothing to show yet."]
    return "\n\n".join(parts) + "\n"


SELECTION = (
    "What picking the best epoch on test would add to each method's accuracy, in points, over all "
    "cells of its row: the mean, and the most. It is why a number of a paper whose code picks so "
    "is not a number of the last epoch. Of a run that scores test at few epochs this is a lower "
    "bound."
)
TRIALS = (
    "What was spent on validation data before the final runs: every method has as many trials. "
    "Seconds are those of whole cells, the mean of a task's search; val is the accuracy there of "
    "what was chosen, mean over tasks. Trials without an outcome diverged, or cannot be."
)
REGRET = (
    "Test accuracy of the rates that validation picks, against the best of the grid on test, in "
    "points. It needs final runs at every rate of the grid (`run --set lr=...`) beside the trials; "
    "tasks where one is missing do not count."
)
INIT = (
    "Seconds of `prepare` by the share of the training images that it looks at, as in Table 1 of "
    "SPT; mean over seeds and cells, of one machine each."
)
COSTS = (
    "Measured by `python -m bench cost`: medians over rounds in which the methods take turns, on "
    "one batch of noise; memory in a process of its own, beyond what it held before; stored: what "
    "`export` writes for a head of 10 classes. Times are to be compared within a machine alone."
)


def selection_bias(boards: Iterable[Board]) -> Lines:
    """A line a row of every board: oracle best-epoch accuracy less that of the last epoch."""
    lines = []
    for board in boards:
        for row in sorted([*board.rows, *board.incomplete], key=lambda row: row.label):
            gains = [gain for cell in row.cells.values() for gain in cell.gains.values()]
            if gains:
                shown = {"mean gain": f"{fmean(gains):.2f}", "most": f"{max(gains):.2f}"}
                lines.append({**tuning.of_board(board, row), **shown, "cells": str(len(gains))})
    return lines


def init_shares(records: Iterable[Record]) -> Lines:
    """A line a strategy that was run at several shares of a task's own images, a column a share."""
    own = [r for r in records if r.outcome and PROMPTS_FROM not in r.settings.fields]
    shared = [r for r in own if r.settings.fields.get("share") is not None]
    lines, named_backbones = [], footers.labels(shared)
    strategies = gather(shared, lambda r: _strategy(r, named_backbones[footers.known(r)]))
    for where, found in sorted(strategies.items()):
        by_share = gather(found, lambda r: r.settings.fields["share"])
        if len(by_share) < 2:
            continue
        seconds = {
            f"{100 * share:g} %": f"{fmean(_init(alike)):.2f}"
            for share, alike in sorted(by_share.items())
        }
        named = ("suite", "backbone", "task", "method", "prompts", "machine")
        lines.append({**dict(zip(named, where, strict=True)), **seconds})
    return lines


def cost(measured: Iterable[Mapping[str, str]]) -> Lines:
    """A line a method, with images a second and times relative to the cheapest step."""
    listed = list(measured)
    floor: dict[tuple[str, ...], float] = {}
    for line in listed:
        step = float(line["train_step_ms"])
        floor[_work(line)] = min(step, floor.get(_work(line), step))
    return [
        {
            "backbone": line["backbone"],
            "machine": f"{on(line['device'], line['threads'])}, {line['precision']}",
            "method": line["method"],
            "batch": line["batch"],
            "step (ms)": f"{float(line['train_step_ms']):.1f}",
            "to the cheapest": f"{float(line['train_step_ms']) / floor[_work(line)]:.2f}",
            "images/s, training": _rate(line, "train_step_ms"),
            "images/s, test": _rate(line, "test_batch_ms"),
            "peak memory (MiB)": f"{float(line['peak_memory_mb']):.0f}",
            "stored (bytes)": f"{int(line['stored_bytes']):,}",
        }
        for line in sorted(listed, key=lambda line: (_work(line), float(line["train_step_ms"])))
    ]


def _strategy(record: Record, backbone: str) -> tuple[str, ...]:
    s = record.settings
    prompts = canonical(s.fields.get("prompts"))
    return s.suite, backbone, s.task, s.method, prompts, machine(record)


def _init(records: Iterable[Record]) -> list[float]:
    return [record.outcome.init_seconds for record in records if record.outcome]


def _work(line: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(line[k] for k in ("backbone", "batch", "precision", "device", "threads", "torch"))


def _rate(line: Mapping[str, str], name: str) -> str:
    return f"{1000 * int(line['batch']) / float(line[name]):.0f}"


def _lines(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    try:
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
