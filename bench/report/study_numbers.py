"""Numbers on a study's page: convergence, trials, paired differences, and our printed numbers."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.papers.study import CELL_COLUMNS, OurValue, PrintedNumber, Study
from bench.report import study_data
from bench.report.markdown import (
    MISSING,
    format_axis_value,
    table_from_dicts,
    table_from_rows,
)
from bench.report.study_data import StudyCell
from bench.utils.escaping import for_markdown


def first_epoch_reaching(accuracies: Sequence[float], target: float) -> int | None:
    """Return the epoch, from 1, whose accuracy is first at least the target; None: never."""
    return next((i for i, value in enumerate(accuracies, start=1) if value >= target), None)


def epochs_to_overtake(frame: pd.DataFrame, value: str) -> pd.DataFrame:
    """Return, for each two methods, the epoch at which one first reaches the other's last `value`.

    `frame` has the columns suite, task, backbone, method, seed, epoch (from 1) and the value. A row
    for each suite, task, backbone and pair: over the seeds that both have, the median `epoch` of
    those that get there, how many do (`reached`), and of how many (`seeds`).
    """
    rows = []
    for place, of_place in frame.groupby(["suite", "task", "backbone"], sort=False):
        curves = {
            key: of_cell.sort_values("epoch")[value].tolist()
            for key, of_cell in of_place.groupby(["method", "seed"], sort=False)
        }
        for method in dict.fromkeys(m for m, _ in curves):
            for other in dict.fromkeys(m for m, _ in curves if m != method):
                seeds = [s for m, s in curves if m == method and (other, s) in curves]
                found = [
                    first_epoch_reaching(curves[method, s], curves[other, s][-1]) for s in seeds
                ]
                rows.append([*place, method, other, *_count_reached(found)])
    names = ["suite", "task", "backbone", "method", "other", "epoch", "reached", "seeds"]
    return pd.DataFrame(rows, columns=names)


def _count_reached(found: Sequence[int | None]) -> tuple[float | None, int, int]:
    reached = [epoch for epoch in found if epoch is not None]
    return (float(pd.Series(reached).median()) if reached else None), len(reached), len(found)


VALIDATION_ACCURACY = "validation_accuracy"
CURVE_VALUES = (VALIDATION_ACCURACY, "loss")
MEDIAN_NOTE = (
    "Median over the seeds that reach it; accuracy on validation data, of runs trained on the "
    "training split alone."
)
SECONDS_NOTE = "Seconds begin with the initialisation, and leave out what measures and scores."


def convergence_section(trained: pd.DataFrame, picture: str) -> list[str]:
    """Return the page's section on training runs; empty if there are none."""
    found = epochs_to_overtake(trained, VALIDATION_ACCURACY) if len(trained) else trained
    if not len(found):
        return []
    heads = ["task", "backbone", "method", "reaches the last accuracy of", "at epoch", "seeds"]
    names = ["task", "backbone", "method", "other"]
    rows = [
        [
            *(str(line[name]) for name in names),
            _format_epoch(line["epoch"]),
            f"{line['reached']} of {line['seeds']}",
        ]
        for line in found.to_dict("records")
    ]
    shown = f"![Accuracy and loss by epoch and by second]({picture})"
    return [
        "## Convergence",
        shown,
        SECONDS_NOTE,
        table_from_rows(heads, rows, frozenset(heads[:4])),
        MEDIAN_NOTE,
    ]


def _format_epoch(epoch: float | None) -> str:
    return MISSING if epoch is None or pd.isna(epoch) else f"{epoch:g}"


def training_curves(study: Study, trained: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return, for each value, its mean over seeds by place, method and epoch, with its interval.

    `seconds` is the mean over seeds, too. Empty where nothing was measured.
    """
    if not len(trained):
        return {}
    return {
        value: _training_curve(trained, panel_row_columns(study), value) for value in CURVE_VALUES
    }


def panel_row_columns(study: Study) -> list[str]:
    """Return the columns that tell one row of panels from another."""
    return ["task", "backbone", *study.varied()]


def _training_curve(whole: pd.DataFrame, places: list[str], value: str) -> pd.DataFrame:
    by, taken = [*places, "method", "epoch"], whole.dropna(subset=[value])
    seconds = taken.groupby(by, sort=False, dropna=False)["seconds"].mean().reset_index()
    return study_data.summarise_over_seeds(taken, by, value).merge(seconds, on=by)


def training_frame(study: Study, cells: Sequence[StudyCell], results: Path) -> pd.DataFrame:
    """Return the values of the training-split runs per epoch; seconds include initialisation.

    Those of the initialisation are the final run's: it looks at the same images but for the split.
    """
    if not study.measurement_for(VALIDATION_ACCURACY):
        return pd.DataFrame()
    found = study_data.measurement_frame(
        study, cells, results, study.measurement_for(VALIDATION_ACCURACY)
    )
    place = [*CELL_COLUMNS, *study.varied()]
    begun = study_data.outcome_frame(study, cells)[[*place, "init_seconds"]]
    whole = found.merge(begun, on=place)
    return whole.assign(seconds=whole["seconds"] + whole["init_seconds"])


EDGE_MARK = " *"


def chosen_section(study: Study, cells: Sequence[StudyCell]) -> list[str]:
    """Return the section on the rates chosen for each method on each task."""
    found = study_data.tuned_points(study, cells)
    if not len(found):
        return []
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    known = ["backbone", "method", *study.varied()]
    open_ = [name for name in found if name not in (*study_data.SEARCH_COLUMNS, *known, "ends")]
    for row in found.to_dict("records"):
        place = {name: format_axis_value(row[name]) for name in known}
        line = lines.setdefault(tuple(place.values()), place)
        words = ", ".join(
            f"{name} {format_axis_value(row[name])}" for name in open_ if not pd.isna(row[name])
        )
        line[row["task"]] = words + (EDGE_MARK if row["ends"] else "")
    note = for_markdown(
        "By trials on validation data, as many for every method;"
        f"{EDGE_MARK}: an end of those tried."
    )
    return ["## Chosen rates", table_from_dicts(list(lines.values()), frozenset(known)), note]


def trials_section(study: Study, tried: pd.DataFrame, picture: str) -> list[str]:
    """Return the section on the trials' accuracies at each learning rate."""
    if not len(tried):
        return []
    known = ["task", "backbone", "method", *study.varied()]
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for row in tried.sort_values("lr", kind="stable").to_dict("records"):
        place = {name: format_axis_value(row[name]) for name in known}
        line = lines.setdefault(tuple(place.values()), place)
        line[f"lr {format_axis_value(row['lr'])}"] = f"{row['accuracy']:.2f}"
    return [
        "## Trials",
        f"![Validation accuracy by learning rate]({picture})",
        table_from_dicts(list(lines.values()), frozenset(known)),
        "Validation accuracy, one seed: the best of the trials at that rate.",
    ]


DIFFERENCE_COLUMNS = ("method", "against", "mean", "low", "high", "pairs")


def paired_differences(
    frame: pd.DataFrame, pair: Sequence[str], value: str, against: Iterable[str]
) -> pd.DataFrame:
    """Return a row for each method and each that it is compared with: `DIFFERENCE_COLUMNS`.

    `frame` has the columns `pair`, method and the value; of the places that both have, the mean of
    method - other and its 95 % interval (Student's t over the pairs, as of independent ones), which
    one pair does not have. What a pair does not tell apart is averaged first.
    """
    alike = frame.groupby([*pair, "method"], sort=False, dropna=False)[value].mean()
    table = alike.unstack("method")[list(dict.fromkeys(frame["method"]))]
    apart = {
        (method, other): table[method] - table[other]
        for method in table
        for other in against
        if other in table and method != other
    }
    if not apart:
        return pd.DataFrame(columns=[*DIFFERENCE_COLUMNS])
    values = pd.concat(apart, names=["method", "against"]).dropna()
    found = study_data.confidence_intervals(values, ["method", "against"])
    return found.rename(columns={"count": "pairs"})[[*DIFFERENCE_COLUMNS]]


# Of the means of a method, and of the other's, by the figure's x: the number.
REDUCTIONS: dict[str, Callable[[pd.Series, pd.Series], Any]] = {
    "best": lambda own, _: own.idxmax(),
    "worst": lambda own, _: own.idxmin(),
    "range": lambda own, _: float(own.max() - own.min()),
    "lead": lambda own, other: float(own.max() - other.max()),
    "value": lambda own, _: float(own.max()),
}
SECONDS_PER_UNIT = {"d": 86_400.0}  # of a unit, where the values are in seconds
DIFFERENCE_UNITS = {"%": "points"}  # what differences of percents are called here


def our_value(one: PrintedNumber, study: Study, cells: Sequence[StudyCell]) -> str:
    """Return our number with its unit; empty if cells lack a result."""
    if one.ours is None or study.figure is None:
        return ""
    own, other = (
        _means_by_x(study.figure.x, one.ours, method, cells) if method else pd.Series(dtype=float)
        for method in (one.ours.of, one.ours.other)
    )
    if own is None or other is None:
        return ""
    found = REDUCTIONS[one.ours.take](own, other)
    text = found if isinstance(found, str) else f"{found / SECONDS_PER_UNIT.get(one.unit, 1.0):.3g}"
    return f"{text} {DIFFERENCE_UNITS.get(one.unit, one.unit)}"


def _means_by_x(
    x: str, ours: OurValue, method: str, cells: Sequence[StudyCell]
) -> pd.Series | None:
    """Return the method's means by x, or at `at` alone; None unless all cells are done."""
    wanted = [
        (place[x], record and record.outcome)
        for place, record in cells
        if place["method"] == method and ours.at in (None, place[x])
    ]
    values = [(at, getattr(outcome, ours.value)) for at, outcome in wanted if outcome]
    if not wanted or len(values) < len(wanted):
        return None
    return pd.DataFrame(values, columns=["x", "value"]).groupby("x", sort=False)["value"].mean()
