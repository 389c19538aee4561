"""The panels of a study's figure, and the labels of its columns."""

from collections.abc import Iterator

import pandas as pd

from bench.report.markdown import format_axis_value

COLUMN_LABELS = {"cka": "CKA", "nmi": "NMI", "nmi_pooled": "NMI, pooled", "lr": "learning rate"}


def split_panels(summary: pd.DataFrame, panels: list[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows of each panel, with its heading, in the order of the rows."""
    for name, part in summary.groupby(join_columns(summary, panels), sort=False):
        yield str(name), part


def join_columns(summary: pd.DataFrame, names: list[str]) -> pd.Series:
    """Return some columns as one text per row: a number with its column's name before it."""
    columns = [[_named_value(name, value) for value in summary[name]] for name in names]
    texts = map(", ".join, zip(*columns, strict=True)) if names else [""] * len(summary)
    return pd.Series(list(texts), summary.index)


def column_label(name: str) -> str:
    """Return a column's name as a reader has it."""
    return COLUMN_LABELS.get(name, name.replace("_", " "))


def _named_value(name: str, value: object) -> str:
    return value if isinstance(value, str) else f"{column_label(name)} {format_axis_value(value)}"
