"""Recipe cards: hyper-parameters of training, views of the images, and the tuning grid."""

from collections.abc import Iterable
from dataclasses import asdict, field
from math import inf, prod
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from bench.config.loading import RECIPES_DIR, load_card
from bench.records.schema import STRICT
from bench.utils.text import longest_prefix

# recorded elsewhere in a cell's settings, or without effect on its numbers
NON_PROTOCOL_FIELDS = "title", "views", "lr_of", "fields", "grid", "grid_of", "tuning", "precision"


@dataclass(frozen=True, config=STRICT)
class Views:
    """The image transforms of training and evaluation, and how they interpolate."""

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
        """Return the views as recorded: bicubic, once the only interpolation, is left out."""
        return {k: v for k, v in asdict(self).items() if (k, v) != ("interpolation", "bicubic")}


@dataclass(frozen=True, config=STRICT)
class Tuning:
    """The search of the grid on validation data, with the same budget for every method."""

    by_default: bool = False  # tune unless --no-tune is given
    trials: int = 0  # for each method; 0: the number of pairs of rates in the grid
    seed: int = 0  # of the trials, and of the random subset of a larger grid
    halving: bool = False  # successive halving


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """The hyper-parameters of training."""

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
    pooled_norm: Literal["pretrained", "fresh"]  # the norm after average pooling (MAE)
    test_evaluations: int  # number of evaluations on test, evenly spaced up to the last epoch
    precision: Literal["auto", "fp32", "bf16"]  # auto: bf16 if the device supports it
    views: dict[str, Views]  # by suite, or "default"
    lr_per_batch: int = 0  # lr scales linearly from this batch size; 0: it does not scale
    train_share: float = 1.0  # fraction of each class's training images used
    lr_of: dict[str, float] = field(default_factory=dict)  # by method, for its variants, too
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)  # by method, or for "all"
    grid: dict[Literal["lr", "weight_decay"], list[float]] = field(default_factory=dict)
    compile: bool = False  # torch.compile of the blocks: other rounding
    grid_of: dict[str, dict[str, list[Any]]] = field(default_factory=dict)  # of methods' fields
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
        """Raise `ValueError` if the grid cannot be searched as the card says."""
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
        """Return the number of pairs of a learning rate and a weight decay in the grid."""
        return prod(len(values) for values in self.grid.values())

    def views_for(self, suite: str) -> Views:
        """Return the views for a suite."""
        return self.views[self.views_key(suite)]

    def views_key(self, suite: str) -> str:
        """Return the key of a suite's views: its name or ``default``."""
        return suite if suite in self.views else "default"

    def rates(self, method: str) -> dict[str, float]:
        """Return the learning rate and weight decay of a method."""
        lr = self.lr_of.get(longest_prefix(method, self.lr_of), self.lr)
        return {"lr": lr, "weight_decay": self.weight_decay}

    def fields_of(self, method: str, known: Iterable[str]) -> dict[str, Any]:
        """Return the recipe's fields of a method: those for all methods, then those by name."""
        common = {k: v for k, v in self.fields.get("all", {}).items() if k in known}
        return {**common, **self.fields.get(longest_prefix(method, self.fields), {})}

    def protocol(self, suite: str, precision: str) -> dict[str, Any]:
        """Return what can change a number and is equal for every method of a suite's table.

        `precision` is the one resolved for the device. `train_share` and `compile` are left out at
        their defaults, which were once the only values.
        """
        shared = {k: v for k, v in asdict(self).items() if k not in NON_PROTOCOL_FIELDS}
        if not self.compile:
            del shared["compile"]
        if self.train_share == 1:
            del shared["train_share"]
        return {**shared, "view": self.views_for(suite).to_json(), "precision": precision}


def load_recipe(name: str) -> Recipe:
    """Load a recipe by name, or from the card at that path."""
    return load_card(Recipe, "recipe", name, RECIPES_DIR)
