"""The course of training on a study's page: by epoch and by second, and who is where others end."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bench.records import Record
from bench.report.text import NONE, grid
from bench.studies import convergence, frames
from bench.studies.cards import WHICH, Study

VALUE = "validation_accuracy"
VALUES = (VALUE, "loss")
SAID = (
    "The median over the seeds that get there; accuracy on validation data, of runs on the "
    "training split alone."
)
DRAWN = "Seconds begin with the initialisation, and leave out what measures and scores."


def section(trained: pd.DataFrame, picture: str) -> list[str]:
    """What the page says of what was `measured`; nothing where that is nothing."""
    found = convergence.overtaking(trained, VALUE) if len(trained) else trained
    if not len(found):
        return []
    heads = ["task", "backbone", "method", "reaches the last accuracy of", "at epoch", "seeds"]
    names = ["task", "backbone", "method", "other"]
    rows = [
        [
            *(str(line[name]) for name in names),
            _epoch(line["epoch"]),
            f"{line['reached']} of {line['seeds']}",
        ]
        for line in found.to_dict("records")
    ]
    shown = f"![Accuracy and loss by epoch and by second]({picture})"
    return ["## Convergence", shown, DRAWN, grid(heads, rows, frozenset(heads[:4])), SAID]


def _epoch(epoch: float | None) -> str:
    return NONE if epoch is None or pd.isna(epoch) else f"{epoch:g}"


def summaries(study: Study, trained: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """For each value its mean over seeds by place, method and epoch, with its interval.

    `seconds` is the mean over seeds, too. Empty where nothing was measured.
    """
    if not len(trained):
        return {}
    return {value: _summary(trained, rows(study), value) for value in VALUES}


def rows(study: Study) -> list[str]:
    """What tells one row of panels from another."""
    return ["task", "backbone", *study.varied()]


def _summary(whole: pd.DataFrame, places: list[str], value: str) -> pd.DataFrame:
    by, taken = [*places, "method", "epoch"], whole.dropna(subset=[value])
    seconds = taken.groupby(by, sort=False, dropna=False)["seconds"].mean().reset_index()
    return frames.summary(taken, by, value).merge(seconds, on=by)


def measured(study: Study, records: Sequence[Record], results: Path) -> pd.DataFrame:
    """What the runs on the training split gave after each epoch; seconds with the initialisation's.

    Those of the initialisation are the final run's: it looks at the same images but for the split.
    """
    if not study.source(VALUE):
        return pd.DataFrame()
    found = frames.measured(study, records, results, study.source(VALUE))
    place = [*WHICH, *study.varied()]
    begun = frames.outcomes(study, records)[[*place, "init_seconds"]]
    whole = found.merge(begun, on=place)
    return whole.assign(seconds=whole["seconds"] + whole["init_seconds"])
