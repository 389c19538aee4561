from collections.abc import Iterable
from dataclasses import asdict, field
from math import inf, prod
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from bench.config.loading import RECIPES_DIR, load_card
from bench.records.schema import STRICT
from bench.utils.text import longest_prefix

NON_PROTOCOL_FIELDS = (
    "title",
    "views",
    "lr_of",
    "fields",
    "grid",
    "grid_of",
    "tuning",
    "precision",
)


@dataclass(frozen=True, config=STRICT)
class Views:
    """How an image becomes the network's input, in training and in evaluation."""

    train: Literal[
        "squash",
        "short_side_crop",
        "random_resized_crop_flip",
        "random_crop_flip",
        "squash256_random_crop_flip",
    ]
    test: Literal["squash", "short_side_crop", "resize256_crop", "squash256_crop"]
    interpolation: Literal["bicubic", "bilinear", "tf1_bilinear"]

    def to_json(self) -> dict[str, str]:
        """As records have it. Bicubic goes unsaid: so all were, before there was a choice."""
        return {k: v for k, v in asdict(self).items() if (k, v) != ("interpolation", "bicubic")}


@dataclass(frozen=True, config=STRICT)
class Tuning:
    """How the grid is searched on validation data: as much for every method."""

    by_default: bool = False  # whether a run tunes where the command line does not say
    trials: int = 0  # of each method; 0: as many as the grid has pairs of rates
    seed: int = 0  # of the trials, and of the choice of points where a method has more
    halving: bool = False  # short trials first, and longer ones of the better half


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """How a model is trained: the numbers, apart from the loop."""

    name: str
    title: str
    version: int
    optimiser: Literal["adamw", "sgd"]
    lr: float
    weight_decay: float
    head_weight_decay: float
    batch: int
    epochs: int
    warmup_epochs: int
    min_lr: float
    normalisation: Literal["backbone", "imagenet", "none"]
    head_init: Literal["trunc_normal", "vpt2022"]
    pooled_norm: Literal["pretrained", "fresh"]  # the norm behind average pooling (MAE)
    test_evaluations: int  # epochs, evenly spaced up to the last, at which test is scored
    precision: Literal["auto", "fp32", "bf16"]  # auto: bf16 where the device computes in it
    views: dict[str, Views]  # a suite's name, or "default"
    lr_per_batch: int = 0  # the learning rate is for this batch size; 0: for any
    train_share: float = 1.0  # of each class's training images that are learnt from
    lr_of: dict[str, float] = field(default_factory=dict)  # of a method and its variants
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)  # likewise, or of "all"
    grid: dict[Literal["lr", "weight_decay"], list[float]] = field(default_factory=dict)
    compile: bool = False  # the blocks, by torch.compile: rounds otherwise than without
    grid_of: dict[str, dict[str, list[Any]]] = field(default_factory=dict)  # fields of a method
    tuning: Tuning = field(default_factory=Tuning)

    def __post_init__(self) -> None:
        above = {
            name: getattr(self, name) for name in ("lr", "batch", "epochs", "test_evaluations")
        }
        for name, value in {**above, **self.lr_of}.items():
            if not 0 < value < inf:
                raise ValueError(f"{name} must be above 0; {value} was given")
        for name in (
            "weight_decay",
            "head_weight_decay",
            "warmup_epochs",
            "min_lr",
            "lr_per_batch",
        ):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"{name} must be 0 or above; {getattr(self, name)} was given")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"{self.warmup_epochs} warm-up epochs leave none of {self.epochs}")
        if not 0 < self.train_share <= 1:
            raise ValueError(f"train_share is above 0 and at most 1; {self.train_share} was given")
        if "default" not in self.views:
            raise ValueError("views needs a table called default")
        self._require_grid()

    def _require_grid(self) -> None:
        """Raise `ValueError` where the grid cannot be searched as the card says."""
        axes = [
            *self.grid.items(),
            *(axis for own in self.grid_of.values() for axis in own.items()),
        ]
        for name, values in axes:
            if not values or any(values.count(value) > 1 for value in values):
                raise ValueError(f"the grid's {name} needs values, each once; {values} was given")
        lr, decay = self.grid.get("lr", []), self.grid.get("weight_decay", [])
        if not all(0 < rate < inf for rate in lr) or not all(0 <= rate < inf for rate in decay):
            raise ValueError("the grid's lr must be above 0, and its weight_decay 0 or above")
        if self.tuning.by_default and not self.grid:
            raise ValueError("tuning by default needs a grid")
        if not 0 <= self.tuning.trials <= self.num_rate_pairs():
            raise ValueError(
                f"{self.tuning.trials} trials are not as many for every method: the grid has "
                f"{self.num_rate_pairs()} pairs of rates, and some methods have nothing else to try"
            )

    def num_rate_pairs(self) -> int:
        """How many pairs of a learning rate and a weight decay the grid has."""
        return prod(len(values) for values in self.grid.values())

    def views_for(self, suite: str) -> Views:
        """The views for a suite."""
        return self.views[self.views_key(suite)]

    def views_key(self, suite: str) -> str:
        """What the views for a suite are called: after it, or ``default``."""
        return suite if suite in self.views else "default"

    def rates(self, method: str) -> dict[str, float]:
        """The learning rate and weight decay of a method."""
        lr = self.lr_of.get(longest_prefix(method, self.lr_of), self.lr)
        return {"lr": lr, "weight_decay": self.weight_decay}

    def fields_of(self, method: str, known: Iterable[str]) -> dict[str, Any]:
        """What the recipe says of a method's fields: for all that have the field, then by name."""
        common = {k: v for k, v in self.fields.get("all", {}).items() if k in known}
        return {**common, **self.fields.get(longest_prefix(method, self.fields), {})}

    def protocol(self, suite: str, precision: str) -> dict[str, Any]:
        """What can change a number and is the same for every method of a suite's table.

        `precision` is what the device makes of the recipe's. A whole `train_share` goes unsaid: so
        all were, before there was a choice.
        """
        shared = {k: v for k, v in asdict(self).items() if k not in NON_PROTOCOL_FIELDS}
        if not self.compile:  # goes unsaid: so were all records, before there was a choice
            del shared["compile"]
        if self.train_share == 1:
            del shared["train_share"]
        return {**shared, "view": self.views_for(suite).to_json(), "precision": precision}


def load_recipe(name: str) -> Recipe:
    """The recipe called `name`, or the one of the card at that path."""
    return load_card(Recipe, "recipe", name, RECIPES_DIR)
