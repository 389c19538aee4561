"""The ledgers: what a leaderboard does not say of selection, tuning, initialisation and cost."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.errors import UserError
from bench.records import PROMPTS_FROM, Record, Settings
from bench.report.grouping import canonical, gather
from bench.report.leaderboard import Board
from bench.report.rows import Row, machine
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
        ("Tuning regret", REGRET, tuning_regret(records, trials)),
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
                lines.append({**_of_board(board, row), **shown, "cells": str(len(gains))})
    return lines


def tuning_regret(records: Iterable[Record], trials: Iterable[Mapping[str, str]]) -> Lines:
    """A line a method, backbone and recipe, over the tasks and seeds with all that it needs."""
    scored = gather([r for r in records if r.outcome], lambda r: _tuned(r.settings))
    regrets: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for cell, tried in gather(trials, _trial).items():
        found = _regret(tried, scored.get(cell, []))
        if found:
            suite, backbone, recipe, _, method, _ = cell
            regrets.setdefault((suite, backbone, recipe, method), []).append(found)
    return [
        {
            **dict(zip(("suite", "backbone", "recipe", "method"), key, strict=True)),
            "picked by validation": f"{fmean(pick for pick, _ in found):.2f}",
            "best in the grid": f"{fmean(best for _, best in found):.2f}",
            "regret": f"{fmean(best - pick for pick, best in found):.2f}",
            "cells": str(len(found)),
        }
        for key, found in sorted(regrets.items())
    ]


def init_shares(records: Iterable[Record]) -> Lines:
    """A line a strategy that was run at several shares of a task's own images, a column a share."""
    own = [r for r in records if r.outcome and PROMPTS_FROM not in r.settings.fields]
    shared = [r for r in own if r.settings.fields.get("share") is not None]
    lines = []
    for where, found in sorted(gather(shared, _strategy).items()):
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


def _of_board(board: Board, row: Row) -> dict[str, str]:
    return {
        "suite": board.suite,
        "backbone": board.backbone,
        "recipe": board.recipe_name,
        "method": row.label,
    }


def _tuned(s: Settings) -> tuple[str, ...]:
    name = str(s.recipe.get("name"))
    return s.suite, s.backbone, name, s.task, s.method, str(s.seed)


def _trial(line: Mapping[str, str]) -> tuple[str, ...]:
    named = ("suite", "backbone", "recipe", "task", "method", "seed")
    return tuple(line[name] for name in named)


def _regret(
    trials: Sequence[Mapping[str, str]], scored: Sequence[Record]
) -> tuple[float, float] | None:
    """Test accuracy at the rates that validation picks, and the best of all that were tried."""
    on_test = {_rates(r.settings.rates): r.outcome.accuracy for r in scored if r.outcome}
    found = [(_rates(t), float(t["val_accuracy"])) for t in trials]
    if any(rates not in on_test for rates, _ in found) or len(found) < 2:
        return None
    pick, _ = max(found, key=lambda trial: (trial[1], -trial[0][0]))
    return on_test[pick], max(on_test[rates] for rates, _ in found)


def _rates(of: Mapping[str, Any]) -> tuple[float, float]:
    return float(of["lr"]), float(of["weight_decay"])


def _strategy(record: Record) -> tuple[str, ...]:
    s = record.settings
    prompts = canonical(s.fields.get("prompts"))
    return s.suite, s.backbone, s.task, s.method, prompts, machine(record)


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
