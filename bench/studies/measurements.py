"""What can be measured of a cell beyond its accuracy: the names, and what the values look like."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from bench.errors import unknown

Training = Literal["final", "validation"]


@dataclass(frozen=True)
class Measurement:
    """One kind: each of its rows has the `places` that it is about, and the `values` found."""

    title: str
    places: tuple[str, ...]
    values: tuple[str, ...]
    of_prompts: bool = False  # nothing to measure where a method has none
    ends: bool = False  # before the first epoch and after the last, not between
    training: Training = "final"

    @property
    def columns(self) -> tuple[str, ...]:
        return self.places + self.values


MEASUREMENTS = {
    "nmi": Measurement(
        "normalised mutual information of prompts and patch tokens",
        ("epoch", "layer"),
        ("nmi", "nmi_pooled"),
        of_prompts=True,
    ),
    "cka": Measurement(
        "alignment (CKA) of each layer's prompts with each layer's patch tokens",
        ("epoch", "layer", "token_layer"),
        ("cka",),
        of_prompts=True,
        ends=True,
    ),
    "convergence": Measurement(
        "loss, and accuracy where the recipe scores test, of the final run",
        ("epoch",),
        ("seconds", "loss", "test_accuracy"),
    ),
    "validation": Measurement(
        "loss and accuracy on validation data, of a run on the training split alone",
        ("epoch",),
        ("seconds", "loss", "validation_accuracy"),
        training="validation",
    ),
}


def find(name: str) -> Measurement:
    """Raises `UserError` for an unknown name."""
    if name not in MEASUREMENTS:
        raise unknown("measurement", name, MEASUREMENTS)
    return MEASUREMENTS[name]


def of_training(names: Iterable[str], training: Training) -> list[str]:
    """Those of the names that are taken in that training."""
    return [name for name in names if find(name).training == training]
