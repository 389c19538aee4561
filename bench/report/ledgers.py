"""The ledgers: selection bias, tuning budgets and regret, initialisation, storage, and cost."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from bench.records.schema import (
    PROMPTS_FROM,
    RATE_NAMES,
    Outcome,
    Record,
    Settings,
    TuningResult,
    extract_point,
)
from bench.report import cost_ledger, ledger_files, markdown
from bench.report.boards import Board
from bench.report.frame import canonical_json
from bench.report.ledger_files import SEARCH, SEARCH_CELL
from bench.report.markdown import MISSING, REPORT_NOTICE, table_from_dicts
from bench.report.rows import MethodRow, machine_of

if TYPE_CHECKING:
    import pandas as pd

TEXT_COLUMNS = frozenset({"suite", "backbone", "recipe", "method", "machine", "task"})
STRATEGY = ("suite", "backbone", "task", "method", "prompts", "machine")
SELECTION_NOTE = (
    "How much accuracy would rise, in points, if the best epoch on test were reported instead of "
    "the last: mean and maximum over all cells of a row. This is why numbers of papers whose code "
    "reports the best epoch cannot be compared with last-epoch numbers. For runs that are scored "
    "on test at only a few epochs, it is a lower bound."
)
TUNING_NOTE = (
    "What was spent on validation data before the final runs; every method has the same number of "
    "trials. Seconds: the total time of the trials of one task, mean over tasks. Val: the "
    "validation accuracy of the chosen point, mean over tasks. Trials without an outcome "
    "diverged, or could not be run."
)
REGRET_NOTE = (
    "Test accuracy at the rates chosen on validation data, compared with the best of the grid on "
    "test, in points. It needs final runs at every rate of the grid (`run --set lr=...`) in "
    "addition to the trials; tasks without all of them do not count."
)
INIT_NOTE = (
    "Seconds of `prepare` by the share of the training images that it reads, as in Table 1 of "
    "SPT; mean over seeds and cells, on one machine per row."
)
STORAGE_NOTE = (
    "The size of an `export` of a trained model, without the backbone and including the head, "
    "mean over tasks: less than four bytes per trainable parameter where weights are packed, more "
    "where indices are stored. A dash marks records from before this was measured."
)

TableLines = list[dict[str, str]]
TrialLine = Mapping[Any, Any]  # of the CSV of trials


def render_ledgers(boards: Sequence[Board], frame: "pd.DataFrame", results: Path) -> str:
    """Return all ledgers; the trials and the costs are read from the results folder."""
    trials, costs = ledger_files.read_trials(results), ledger_files.read_costs(results)
    parts = [REPORT_NOTICE, "# Ledgers"]
    for title, note, lines in (
        ("Selection bias", SELECTION_NOTE, selection_bias(boards)),
        ("Tuning", TUNING_NOTE, search_costs(boards, frame)),
        ("Tuning regret", REGRET_NOTE, tuning_regret(frame, trials)),
        ("Initialisation", INIT_NOTE, init_seconds_by_share(frame)),
        ("Storage", STORAGE_NOTE, stored_sizes(boards, frame)),
        ("Cost on the same work", cost_ledger.NOTE, cost_ledger.method_costs(costs)),
    ):
        table = table_from_dicts(lines, TEXT_COLUMNS) if lines else "Nothing to show yet."
        parts += [f"## {title}", note, table]
    return "\n\n".join(parts) + "\n"


def selection_bias(boards: Iterable[Board]) -> TableLines:
    """Return, per row, the oracle accuracy of the best epoch less that of the last."""
    lines = []
    for board, row in _board_rows(boards):
        gains = [gain for cell in row.cells.values() for gain in cell.gains.values()]
        if gains:
            shown = {"mean gain": f"{fmean(gains):.2f}", "most": f"{max(gains):.2f}"}
            lines.append({**_row_columns(board, row), **shown, "cells": str(len(gains))})
    return lines


def stored_sizes(boards: Iterable[Board], frame: "pd.DataFrame") -> TableLines:
    """Return, per row, the trainable parameters and the bytes of a file of them."""
    outcomes = {
        name: record.outcome for name, record in zip(frame["cell"], frame["record"], strict=True)
    }
    lines = []
    for board, row in _board_rows(boards):
        names = [list(cell.cell_names.values()) for cell in row.cells.values() if cell.cell_names]
        found = [outcome for of_task in names if (outcome := outcomes[of_task[0]])]
        if found:
            lines.append({**_row_columns(board, row), **_stored_columns(found)})
    return lines


def _stored_columns(of_tasks: Sequence[Outcome]) -> dict[str, str]:
    """Return the means over tasks; a seed changes none of them."""
    params = fmean(one.method_params + one.head_params for one in of_tasks)
    sizes = [one.stored_bytes for one in of_tasks if one.stored_bytes is not None]
    known = len(sizes) == len(of_tasks)
    return {
        "params": f"{params:,.0f}",
        "stored (bytes)": f"{fmean(sizes):,.0f}" if known else MISSING,
        "bytes a parameter": f"{fmean(sizes) / params:.2f}" if known and params else MISSING,
    }


def search_costs(boards: Iterable[Board], frame: "pd.DataFrame") -> TableLines:
    """Return, per row whose rates were chosen by trials, what the trials took."""
    records = dict(zip(frame["cell"], frame["record"], strict=True))
    lines = []
    for board, row in _board_rows(boards):
        names = [name for cell in row.cells.values() for name in cell.cell_names.values()]
        searches = _one_search_per_task(records[name] for name in names)
        if searches:
            lines.append({**_row_columns(board, row), **_search_cost(searches)})
    return lines


def _board_rows(boards: Iterable[Board]) -> Iterator[tuple[Board, MethodRow]]:
    for board in boards:
        for row in sorted(board.all_rows, key=lambda row: row.label):
            yield board, row


def _row_columns(board: Board, row: MethodRow) -> dict[str, str]:
    """Return the names of a row, unique among the rows of all boards."""
    names = board.suite, board.backbone, board.recipe_name, row.label
    return dict(zip(SEARCH, names, strict=True))


def _one_search_per_task(records: Iterable[Record]) -> list[tuple[Settings, TuningResult]]:
    """Return one search per task: all its seeds come after the same trials."""
    return list({r.settings.task: (r.settings, r.tuned) for r in records if r.tuned}.values())


def _search_cost(searches: Sequence[tuple[Settings, TuningResult]]) -> dict[str, str]:
    """Return the columns of a row's searches."""
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
    """Return the validation accuracy of the last trial at the final run's point."""
    at = [t for t in tuned.trials if t.point == extract_point(settings, t.point)]
    return at[-1].accuracy if at else None


def tuning_regret(frame: "pd.DataFrame", trials: Sequence[Mapping[str, str]]) -> TableLines:
    """Return the regret per method, backbone and recipe, over tasks and seeds with all it needs.

    Where two backbones or versions of the data share a name, the trials do not say whose they are:
    there is no line.
    """
    import pandas as pd

    done = frame[frame["ok"]].astype({"seed": str})
    final_runs = done.groupby(list(SEARCH_CELL))["record"].agg(list).to_dict()
    tried = pd.DataFrame(trials, columns=[*trials[0]] if trials else [*SEARCH_CELL]).fillna("")
    rows = [
        (*cell[: len(SEARCH)], *regret)
        for cell, of_cell in tried.groupby(list(SEARCH_CELL))
        if (regret := _cell_regret(of_cell.to_dict("records"), final_runs.get(cell, [])))
    ]
    regrets = pd.DataFrame(rows, columns=[*SEARCH, "picked", "best"])
    return [
        {
            **dict(zip(SEARCH, map(str, search), strict=True)),
            "picked by validation": f"{fmean(found['picked']):.2f}",
            "best in the grid": f"{fmean(found['best']):.2f}",
            "regret": f"{fmean(found['best'] - found['picked']):.2f}",
            "cells": str(len(found)),
        }
        for search, found in regrets.groupby(list(SEARCH))
    ]


def _cell_regret(
    trials: Sequence[TrialLine], scored: Sequence[Record]
) -> tuple[float, float] | None:
    """Return the test accuracy at the point that validation picks, and the best of all tried.

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
    """Return all that the final runs of one search share besides their names."""
    recipe = {k: v for k, v in s.recipe.items() if k not in RATE_NAMES}  # they are the points
    return canonical_json([*s.data_key, s.weights, s.input, s.code, recipe])


def _test_accuracy_at(point: Mapping[str, Any], scored: Iterable[Record]) -> float | None:
    """Return the test accuracy of the final run at a point, if there is one."""
    for record in scored:
        if record.outcome and extract_point(record.settings, dict(point)) == point:
            return record.outcome.accuracy
    return None


def _trial_point(line: TrialLine) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(line.get("fields") or "{}")
    return {axis: float(line[axis]) for axis in RATE_NAMES} | fields


def _trial_rank_key(line: TrialLine) -> tuple[float, ...]:
    """Rank trials; of equally good ones the one with the smaller rates is the better."""
    return float(line["val_accuracy"]), *(-float(line[axis]) for axis in RATE_NAMES)


def _trial_epochs(line: TrialLine) -> int:
    return int(line.get("epochs") or 0)


def init_seconds_by_share(frame: "pd.DataFrame") -> TableLines:
    """Return a line per strategy that was run at several shares of a task's own images."""
    import pandas as pd

    own = [r for r in frame[frame["ok"]]["record"] if PROMPTS_FROM not in r.settings.fields]
    shared = [r for r in own if isinstance(r.settings.fields.get("share"), int | float)]
    labels = markdown.backbone_labels(shared)
    rows = [_share_row(record, labels[markdown.backbone_key(record)]) for record in shared]
    table = pd.DataFrame(rows, columns=[*STRATEGY, "share", "seconds"])
    lines = []
    for strategy, found in table.groupby(list(STRATEGY)):
        seconds = found.groupby("share")["seconds"].agg(fmean)
        if len(seconds) > 1:
            shares = [f"{100 * share:g} %" for share in seconds.index.tolist()]
            means = dict(zip(shares, map("{:.2f}".format, seconds), strict=True))
            lines.append({**dict(zip(STRATEGY, map(str, strategy), strict=True)), **means})
    return lines


def _share_row(record: Record, backbone: str) -> tuple[Any, ...]:
    """Return the columns of `STRATEGY`, the share of the images, and the seconds."""
    s = record.settings
    assert record.outcome is not None  # of those shown
    prompts = canonical_json(s.fields.get("prompts"))
    place = s.shown_suite, backbone, s.task, s.method, prompts, machine_of(record)
    return *place, s.fields["share"], record.outcome.init_seconds
