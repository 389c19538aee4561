"""How tables name the backbones that their records are of, and what stands below them."""

from collections.abc import Iterable
from typing import Any

from bench import inputs
from bench.records import Record, Settings
from bench.report.grouping import canonical, differences, gather

DIGITS = 12  # shown of a sha256


def backbones(records: Iterable[Record]) -> str:
    """Each backbone of some records with its input, in one sentence; empty without any."""
    found = dict.fromkeys(sorted(_line(record.settings) for record in records))
    return f"Backbones: {'; '.join(found)}." if found else ""


def _line(s: Settings) -> str:
    return f"{s.backbone} ({inputs.said(s.input, s.recipe.get('normalisation', 'backbone'))})"


def labels(records: Iterable[Record]) -> dict[str, str]:
    """`known` of a record -> the name of its backbone, with what tells it from its namesakes."""
    every = {known(record): record.settings for record in records}
    found: dict[str, str] = {}
    for name, keys in gather(every, lambda key: every[key].backbone).items():
        apart = differences([_apart(every[key]) for key in keys])
        found |= {k: f"{name}[{own}]" if own else name for k, own in zip(keys, apart, strict=True)}
    return found


def _apart(s: Settings) -> dict[str, Any]:
    """What may tell two backbones of one name apart."""
    return {**s.input, "weights": s.weights[:DIGITS]}


def known(record: Record) -> str:
    """The same of records whose backbones have name, weights and input alike."""
    s = record.settings
    return canonical([s.backbone, s.weights, s.input])
