"""Numbers on a study's page: convergence, paired differences, and our value for printed numbers."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.papers.study import CELL_COLUMNS, OurValue, PrintedNumber, Study
from bench.report import study_data
from bench.report.markdown import MISSING, table_from_rows
from bench.report.study_data import StudyCell


def first_epoch_reaching(accuracies: Sequence[float], target: float) -> int | None:
    """The epoch, from 1, after which an accuracy is first at least the target; None: never."""
    return next((i for i, value in enumerate(accuracies, start=1) if value >= target), None)


def epochs_to_overtake(frame: pd.DataFrame, value: str) -> pd.DataFrame:
    """For each two methods the epoch at which one first reaches the other's last `value`.

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
    "The median over the seeds that get there; accuracy on validation data, of runs on the "
    "training split alone."
)
SECONDS_NOTE = "Seconds begin with the initialisation, and leave out what measures and scores."


def convergence_section(trained: pd.DataFrame, picture: str) -> list[str]:
    """What the page says of what was `measured`; nothing where that is nothing."""
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
    """For each value its mean over seeds by place, method and epoch, with its interval.

    `seconds` is the mean over seeds, too. Empty where nothing was measured.
    """
    if not len(trained):
        return {}
    return {
        value: _training_curve(trained, panel_row_columns(study), value) for value in CURVE_VALUES
    }


def panel_row_columns(study: Study) -> list[str]:
    """What tells one row of panels from another."""
    return ["task", "backbone", *study.varied()]


def _training_curve(whole: pd.DataFrame, places: list[str], value: str) -> pd.DataFrame:
    by, taken = [*places, "method", "epoch"], whole.dropna(subset=[value])
    seconds = taken.groupby(by, sort=False, dropna=False)["seconds"].mean().reset_index()
    return study_data.summarise_over_seeds(taken, by, value).merge(seconds, on=by)


def training_frame(study: Study, cells: Sequence[StudyCell], results: Path) -> pd.DataFrame:
    """What the runs on the training split gave after each epoch; seconds with the initialisation's.

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


DIFFERENCE_COLUMNS = ("method", "against", "mean", "low", "high", "pairs")


def paired_differences(
    frame: pd.DataFrame, pair: Sequence[str], value: str, against: Iterable[str]
) -> pd.DataFrame:
    """A row for each method and each of those that it is held `against`, with `COLUMNS`.

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
    """The number of this study with its unit; empty where none answers, or cells lack a result."""
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
    """The method's means by x, at `at` alone where that is said; None unless all cells are done."""
    wanted = [
        (place[x], record and record.outcome)
        for place, record in cells
        if place["method"] == method and ours.at in (None, place[x])
    ]
    values = [(at, getattr(outcome, ours.value)) for at, outcome in wanted if outcome]
    if not wanted or len(values) < len(wanted):
        return None
    return pd.DataFrame(values, columns=["x", "value"]).groupby("x", sort=False)["value"].mean()
