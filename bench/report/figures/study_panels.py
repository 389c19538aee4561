"""A study's values in the parts of a picture, and what these are called."""

from collections.abc import Iterator

import pandas as pd

from bench.report.markdown import format_axis_value

COLUMN_LABELS = {"cka": "CKA", "nmi": "NMI", "nmi_pooled": "NMI, pooled", "lr": "learning rate"}


def split_panels(summary: pd.DataFrame, panels: list[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each panel, with its heading, in the order of the rows."""
    for name, part in summary.groupby(join_columns(summary, panels), sort=False):
        yield str(name), part


def join_columns(summary: pd.DataFrame, names: list[str]) -> pd.Series:
    """The values of some columns in one text a row: a number with its column's name before it."""
    columns = [[_named_value(name, value) for value in summary[name]] for name in names]
    texts = map(", ".join, zip(*columns, strict=True)) if names else [""] * len(summary)
    return pd.Series(list(texts), summary.index)


def column_label(name: str) -> str:
    """A column's name as a reader has it."""
    return COLUMN_LABELS.get(name, name.replace("_", " "))


def _named_value(name: str, value: object) -> str:
    return value if isinstance(value, str) else f"{column_label(name)} {format_axis_value(value)}"
