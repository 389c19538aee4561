"""A study's values in the parts of a picture, and what these are called."""

from collections.abc import Iterator

import pandas as pd

SHORT = {"cka": "CKA", "nmi": "NMI", "nmi_pooled": "NMI, pooled", "lr": "learning rate"}


def parts(summary: pd.DataFrame, panels: list[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each panel, with its heading, in the order of the rows."""
    for name, part in summary.groupby(joined(summary, panels), sort=False):
        yield str(name), part


def joined(summary: pd.DataFrame, names: list[str]) -> pd.Series:
    """The values of some columns in one text a row: a number with its column's name before it."""
    columns = [[_said(name, value) for value in summary[name]] for name in names]
    texts = map(", ".join, zip(*columns, strict=True)) if names else [""] * len(summary)
    return pd.Series(list(texts), summary.index)


def words(name: str) -> str:
    """A column's name as a reader has it."""
    return SHORT.get(name, name.replace("_", " "))


def word(value: object) -> str:
    """A value of an axis as a reader has it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _said(name: str, value: object) -> str:
    return value if isinstance(value, str) else f"{words(name)} {word(value)}"
