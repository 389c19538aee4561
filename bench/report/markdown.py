"""Markdown tables, and how they write numbers, machines and backbones."""

from collections.abc import Iterable, Sequence
from typing import Any

from tabulate import tabulate

from bench.config import backbone
from bench.records.schema import Record, Settings
from bench.report.frame import canonical_json, differing_settings
from bench.utils.escaping import for_markdown

MISSING = "–"
SHA_DIGITS = 12  # shown of a sha256
REPORT_NOTICE = "<!-- made by `python -m bench report` from the records; do not edit -->"


def format_mean_sd(mean: float, sd: float | None, decimals: int = 2) -> str:
    """Return ``71.20 ± 0.41``, or the mean alone."""
    return f"{mean:.{decimals}f}" + ("" if sd is None else f" ± {sd:.{decimals}f}")


def format_number(value: float | None, decimals: int) -> str:
    """Return a figure, or a dash."""
    return MISSING if value is None else f"{value:.{decimals}f}"


def format_axis_value(value: object) -> str:
    """Return a value of an axis: ``0.1``, ``digits``."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def describe_machine(device: object, threads: object) -> str:
    """Return a machine in words: ``AMD EPYC, 2 cores, 1 thread``."""
    return f"{device}, {threads} thread{'' if str(threads) == '1' else 's'}"


def table_from_dicts(
    lines: Sequence[dict[str, str]], words: frozenset[str] = frozenset({"method"})
) -> str:
    """Return a Markdown table of lines; columns in `words` are left-aligned, the others right.

    A column that a line lacks is a dash.
    """
    heads = list(dict.fromkeys(name for line in lines for name in line))
    return table_from_rows(
        heads, [[line.get(name, MISSING) for name in heads] for line in lines], words
    )


def table_from_rows(
    heads: Sequence[str],
    cells: Sequence[Sequence[str]],
    words: frozenset[str] = frozenset({"method"}),
) -> str:
    """Return a Markdown table of lines whose columns may share a name."""
    align = ["left" if head in words else "right" for head in heads]
    shown = [list(map(for_markdown, line)) for line in cells]
    names = list(map(for_markdown, heads))
    return tabulate(shown, names, "pipe", colalign=align, disable_numparse=True)


def backbones_sentence(records: Iterable[Record]) -> str:
    """Return each backbone of some records with its input, in one sentence; empty without any."""
    found = dict.fromkeys(sorted(_describe_backbone(record.settings) for record in records))
    return f"Backbones: {'; '.join(found)}." if found else ""


def _describe_backbone(s: Settings) -> str:
    return f"{s.backbone} ({describe_input(s.input, s.recipe)})"


def describe_input(settings: dict[str, Any], recipe: dict[str, Any]) -> str:
    """Describe a backbone's recorded input: its size, normalisation and pooling."""
    return backbone.describe_input(settings, recipe.get("normalisation", "backbone"))


def backbone_labels(records: Iterable[Record]) -> dict[str, str]:
    """Return unique names of the backbones by `backbone_key`, with the settings that differ."""
    every = {backbone_key(record): record.settings for record in records}
    found: dict[str, str] = {}
    for name in dict.fromkeys(s.backbone for s in every.values()):
        keys = [key for key, s in every.items() if s.backbone == name]
        apart = differing_settings([_backbone_settings(every[key]) for key in keys])
        found |= {k: f"{name}[{own}]" if own else name for k, own in zip(keys, apart, strict=True)}
    return found


def _backbone_settings(s: Settings) -> dict[str, Any]:
    """Return the settings that may tell two backbones of one name apart."""
    return {**s.input, "weights": s.weights[:SHA_DIGITS]}


def backbone_key(record: Record) -> str:
    """Return a key that records share if their backbones have the same name, weights and input."""
    s = record.settings
    return canonical_json([s.backbone, s.weights, s.input])
