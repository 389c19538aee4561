"""The ledgers of tuning: what the trials cost, and what their choice loses on test."""

# MERGED bench.report.ledgers: """The ledgers: what a leaderboard does not say of selection, tuning, initialisation and cost."""
import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.records.schema import PROMPTS_FROM, Record, Settings, TuningResult
from bench.records.trials import RATE_NAMES, extract_point
from bench.report import markdown
from bench.report.grouping import canonical_json, group_by
from bench.report.leaderboard import Board
from bench.report.markdown import MISSING, describe_machine, table_from_dicts
from bench.report.rows import MethodRow, machine_of
from bench.utils.errors import UserError

TuningLines = list[dict[str, str]]


def search_costs(boards: Iterable[Board], records: Iterable[Record]) -> TuningLines:
    """A line a row of every board whose rates were chosen by trials."""
    by_name = {record.cell: record for record in records}
    lines = []
    for board in boards:
        for row in sorted([*board.rows, *board.incomplete], key=lambda row: row.label):
            names = [name for cell in row.cells.values() for name in cell.cell_names.values()]
            found = _one_search_per_task(by_name[name] for name in names)
            if found:
                lines.append({**board_columns(board, row), **_search_cost(found)})
    return lines


def _one_search_per_task(records: Iterable[Record]) -> list[tuple[Settings, TuningResult]]:
    """One a task: all its seeds come after the same trials."""
    return list({r.settings.task: (r.settings, r.tuned) for r in records if r.tuned}.values())


def _search_cost(searches: Sequence[tuple[Settings, TuningResult]]) -> dict[str, str]:
    """Of the searches of a row."""
    trials = [trial for _, tuned in searches for trial in tuned.trials]
    counts = sorted({len(tuned.trials) for _, tuned in searches})
    best = [
        accuracy
        for s, tuned in searches
        if (accuracy := _selected_val_accuracy(s, tuned)) is not None
    ]
    return {
        "trials a task": " to ".join(map(str, counts)),
        "without outcome": str(sum(trial.accuracy is None for trial in trials)),
        "epochs": str(sum(trial.epochs for trial in trials)),
        "seconds a task": f"{fmean(tuned.seconds for _, tuned in searches):.1f}",
        "val": f"{fmean(best):.2f}" if best else MISSING,
        "tasks": str(len(searches)),
    }


def _selected_val_accuracy(settings: Settings, tuned: TuningResult) -> float | None:
    """What the last trial at the final run's point gave on val."""
    at = [t for t in tuned.trials if t.point == extract_point(settings, t.point)]
    return at[-1].accuracy if at else None


def tuning_regret(records: Iterable[Record], trials: Iterable[Mapping[str, str]]) -> TuningLines:
    """A line a method, backbone and recipe, over the tasks and seeds with all that it needs.

    Where two backbones or versions of the data share a name, the trials do not say whose they are:
    there is no line.
    """
    scored = group_by([r for r in records if r.outcome], lambda r: _cell_key(r.settings))
    regrets: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for cell, tried in group_by(trials, _trial_cell_key).items():
        on_test = scored.get(cell, [])
        found = _cell_regret(tried, on_test)
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


def board_columns(board: Board, row: MethodRow) -> dict[str, str]:
    """What names a row among those of all boards."""
    return {
        "suite": board.suite,
        "backbone": board.backbone,
        "recipe": board.recipe_name,
        "method": row.label,
    }


def _cell_key(s: Settings) -> tuple[str, ...]:
    name = str(s.recipe.get("name"))
    return s.suite, s.backbone, name, s.task, s.method, str(s.seed)


def _trial_cell_key(line: Mapping[str, str]) -> tuple[str, ...]:
    named = ("suite", "backbone", "recipe", "task", "method", "seed")
    return tuple(line[name] for name in named)


def _cell_regret(
    trials: Sequence[Mapping[str, str]], scored: Sequence[Record]
) -> tuple[float, float] | None:
    """Test accuracy at the point that validation picks, and the best of all that were tried.

    None where final runs are missing, or are of several versions of the data, weights or code:
    which of them the trials belong to cannot be told.
    """
    if len({_version_key(record.settings) for record in scored}) > 1:
        return None
    longest = max(_trial_epochs(trial) for trial in trials)
    tried = [trial for trial in trials if _trial_epochs(trial) == longest]
    on_test = [_test_accuracy_at(_trial_point(trial), scored) for trial in tried]
    known = [accuracy for accuracy in on_test if accuracy is not None]
    if len(known) < len(tried) or len(known) < 2:
        return None
    pick = max(range(len(tried)), key=lambda i: _trial_rank_key(tried[i]))
    return known[pick], max(known)


def _version_key(s: Settings) -> str:
    """What the final runs of one search have alike, beside their names."""
    recipe = {k: v for k, v in s.recipe.items() if k not in RATE_NAMES}  # they are the points
    return canonical_json([*s.data_key, s.weights, s.input, s.code, recipe])


def _test_accuracy_at(point: Mapping[str, Any], scored: Iterable[Record]) -> float | None:
    """What the final run at a point gave, if there is one."""
    for record in scored:
        if record.outcome and extract_point(record.settings, dict(point)) == point:
            return record.outcome.accuracy
    return None


def _trial_point(line: Mapping[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(line.get("fields") or "{}")
    return {axis: float(line[axis]) for axis in RATE_NAMES} | fields


def _trial_rank_key(line: Mapping[str, str]) -> tuple[float, ...]:
    """Of equally good trials the one with the smaller rates is the better."""
    return float(line["val_accuracy"]), *(-float(line[axis]) for axis in RATE_NAMES)


def _trial_epochs(line: Mapping[str, str]) -> int:
    return int(line.get("epochs") or 0)


NOTICE = "<!-- made by `python -m bench report` from the records; do not edit -->"
TUNING_CSV, COST_CSV = "tuning.csv", "cost.csv"
TEXT_COLUMNS = frozenset({"suite", "backbone", "recipe", "method", "machine", "task"})
TableLines = list[dict[str, str]]


def render_ledgers(boards: Sequence[Board], records: Sequence[Record], results: Path) -> str:
    """All ledgers that have a line; the trials and the costs are read from the results folder."""
    trials, costs = _read_csv(results / TUNING_CSV), _read_csv(results / COST_CSV)
    parts = [NOTICE, "# Ledgers"]
    for title, said, lines in (
        ("Selection bias", SELECTION_NOTE, selection_bias(boards)),
        ("Tuning", TUNING_NOTE, search_costs(boards, records)),
        ("Tuning regret", REGRET_NOTE, tuning_regret(records, trials)),
        ("Initialisation", INIT_NOTE, init_seconds_by_share(records)),
        ("Cost on the same work", COST_NOTE, method_costs(costs)),
    ):
        parts += [
            f"## {title}",
            said,
            table_from_dicts(lines, TEXT_COLUMNS) if lines else "Nothing to show yet.",
        ]
    return "\n\n".join(parts) + "\n"


SELECTION_NOTE = (
    "What picking the best epoch on test would add to each method's accuracy, in points, over all "
    "cells of its row: the mean, and the most. It is why a number of a paper whose code picks so "
    "is not a number of the last epoch. Of a run that scores test at few epochs this is a lower "
    "bound."
)
TUNING_NOTE = (
    "What was spent on validation data before the final runs: every method has as many trials. "
    "Seconds are those of whole cells, the mean of a task's search; val is the accuracy there of "
    "what was chosen, mean over tasks. Trials without an outcome diverged, or cannot be."
)
REGRET_NOTE = (
    "Test accuracy of the rates that validation picks, against the best of the grid on test, in "
    "points. It needs final runs at every rate of the grid (`run --set lr=...`) beside the trials; "
    "tasks where one is missing do not count."
)
INIT_NOTE = (
    "Seconds of `prepare` by the share of the training images that it looks at, as in Table 1 of "
    "SPT; mean over seeds and cells, of one machine each."
)
COST_NOTE = (
    "Measured by `python -m bench cost`: medians over rounds in which the methods take turns, on "
    "one batch of noise; memory in a process of its own, beyond what it held before; stored: what "
    "`export` writes for a head of 10 classes. Times are to be compared within a machine alone."
)


def selection_bias(boards: Iterable[Board]) -> TableLines:
    """A line a row of every board: oracle best-epoch accuracy less that of the last epoch."""
    lines = []
    for board in boards:
        for row in sorted([*board.rows, *board.incomplete], key=lambda row: row.label):
            gains = [gain for cell in row.cells.values() for gain in cell.gains.values()]
            if gains:
                shown = {"mean gain": f"{fmean(gains):.2f}", "most": f"{max(gains):.2f}"}
                lines.append({**board_columns(board, row), **shown, "cells": str(len(gains))})
    return lines


def init_seconds_by_share(records: Iterable[Record]) -> TableLines:
    """A line a strategy that was run at several shares of a task's own images, a column a share."""
    own = [r for r in records if r.outcome and PROMPTS_FROM not in r.settings.fields]
    shared = [r for r in own if r.settings.fields.get("share") is not None]
    lines, named_backbones = [], markdown.backbone_labels(shared)
    strategies = group_by(
        shared, lambda r: _strategy_key(r, named_backbones[markdown.backbone_key(r)])
    )
    for where, found in sorted(strategies.items()):
        by_share = group_by(found, lambda r: r.settings.fields["share"])
        if len(by_share) < 2:
            continue
        seconds = {
            f"{100 * share:g} %": f"{fmean(_init_seconds(alike)):.2f}"
            for share, alike in sorted(by_share.items())
        }
        named = ("suite", "backbone", "task", "method", "prompts", "machine")
        lines.append({**dict(zip(named, where, strict=True)), **seconds})
    return lines


def method_costs(measured: Iterable[Mapping[str, str]]) -> TableLines:
    """A line a method, with images a second and times relative to the cheapest step."""
    listed = list(measured)
    floor: dict[tuple[str, ...], float] = {}
    for line in listed:
        step = float(line["train_step_ms"])
        floor[_workload_key(line)] = min(step, floor.get(_workload_key(line), step))
    return [
        {
            "backbone": line["backbone"],
            "machine": f"{describe_machine(line['device'], line['threads'])}, {line['precision']}",
            "method": line["method"],
            "batch": line["batch"],
            "step (ms)": f"{float(line['train_step_ms']):.1f}",
            "to the cheapest": f"{float(line['train_step_ms']) / floor[_workload_key(line)]:.2f}",
            "images/s, training": _images_per_second(line, "train_step_ms"),
            "images/s, test": _images_per_second(line, "test_batch_ms"),
            "peak memory (MiB)": f"{float(line['peak_memory_mb']):.0f}",
            "stored (bytes)": f"{int(line['stored_bytes']):,}",
        }
        for line in sorted(
            listed, key=lambda line: (_workload_key(line), float(line["train_step_ms"]))
        )
    ]


def _strategy_key(record: Record, backbone: str) -> tuple[str, ...]:
    s = record.settings
    prompts = canonical_json(s.fields.get("prompts"))
    return s.suite, backbone, s.task, s.method, prompts, machine_of(record)


def _init_seconds(records: Iterable[Record]) -> list[float]:
    return [record.outcome.init_seconds for record in records if record.outcome]


def _workload_key(line: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(line[k] for k in ("backbone", "batch", "precision", "device", "threads", "torch"))


def _images_per_second(line: Mapping[str, str], name: str) -> str:
    return f"{1000 * int(line['batch']) / float(line[name]):.0f}"


def _read_csv(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    try:
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
