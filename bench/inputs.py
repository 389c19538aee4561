"""What a backbone wants to see, and how that is said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Statistics = tuple[tuple[float, ...], tuple[float, ...]]  # mean and standard deviation a channel

IMAGENET: Statistics = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NONE: Statistics = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)  # pixels stay in [0, 1]


@dataclass(frozen=True)
class Input:
    """What a backbone wants to see and how it sums it up."""

    size: int  # pixels, both ways
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pooling: str


def normalisation(own: Statistics, wanted: str) -> Statistics:
    """The mean and standard deviation that a recipe wants, of pixels in [0, 1]."""
    return {"backbone": own, "imagenet": IMAGENET, "none": NONE}[wanted]


def said(recorded: Mapping[str, Any], wanted: str = "backbone") -> str:
    """A recorded input in words, with the normalisation in use; `wanted` is the recipe's.

    >>> said({"size": 224, "pooling": "avg", "mean": [0.5] * 3, "std": [0.5] * 3})
    'pooling avg, 224 pixels, mean (0.5, 0.5, 0.5), std (0.5, 0.5, 0.5)'
    """
    own = tuple(recorded.get("mean", ())), tuple(recorded.get("std", ()))
    mean, std = normalisation(own, wanted)
    whose = "" if wanted == "backbone" else " (the recipe's)"
    parts = [
        f"pooling {recorded.get('pooling', 'not said')}",
        f"{recorded['size']} pixels" if "size" in recorded else "",
        f"mean {_listed(mean)}" if mean else "",
        f"std {_listed(std)}{whose}" if std else "",
    ]
    return ", ".join(filter(None, parts))


def _listed(values: Sequence[float]) -> str:
    return f"({', '.join(f'{value:g}' for value in values)})"
