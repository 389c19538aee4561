"""Figures and words as the tables have them."""

from collections.abc import Sequence

from tabulate import tabulate

NONE = "–"


def with_spread(mean: float, sd: float | None, decimals: int = 2) -> str:
    """``71.20 ± 0.41``, or the mean alone."""
    return f"{mean:.{decimals}f}" + ("" if sd is None else f" ± {sd:.{decimals}f}")


def number(value: float | None, decimals: int) -> str:
    """A figure, or a dash."""
    return NONE if value is None else f"{value:.{decimals}f}"


def on(device: object, threads: object) -> str:
    """A machine in words: ``AMD EPYC, 2 cores, 1 thread``."""
    return f"{device}, {threads} thread{'' if str(threads) == '1' else 's'}"


def safe(text: str) -> str:
    """`text` on one line, in which Markdown sees neither a column's end nor a tag."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def table(lines: Sequence[dict[str, str]], words: frozenset[str] = frozenset({"method"})) -> str:
    """A Markdown table of lines under all their columns; `words` stand left, figures right.

    A column that a line lacks is a dash.
    """
    heads = list(dict.fromkeys(name for line in lines for name in line))
    return grid(heads, [[line.get(name, NONE) for name in heads] for line in lines], words)


def grid(
    heads: Sequence[str],
    cells: Sequence[Sequence[str]],
    words: frozenset[str] = frozenset({"method"}),
) -> str:
    """The same of lines whose columns may share a name."""
    align = ["left" if head in words else "right" for head in heads]
    shown = [[safe(text) for text in line] for line in cells]
    return tabulate(shown, list(map(safe, heads)), "pipe", colalign=align, disable_numparse=True)
