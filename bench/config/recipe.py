"""Recipe cards: hyper-parameters of training, views of the images, and the tuning grid."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, field
from math import prod
from typing import Annotated, Any, Literal

from pydantic.dataclasses import dataclass

from bench.config.bounds import (
    MAX_RATE,
    Batch,
    BatchOrNone,
    Epochs,
    EpochsOrNone,
    Flag,
    Line,
    Name,
    Plain,
    Rate,
    RateAbove,
    Seed,
    Share,
    Version,
    whole,
)
from bench.config.loading import RECIPES_DIR, load_card
from bench.records.schema import RATE_NAMES, STRICT
from bench.utils.names import shorten
from bench.utils.text import longest_prefix

# recorded elsewhere in a cell's settings, or without effect on its numbers
NON_PROTOCOL_FIELDS = "title", "views", "lr_of", "fields", "grid", "grid_of", "tuning", "precision"

LINEAR_PROBE = "linear_probe"  # a head that is fitted to frozen features before training

MAX_RATE_PAIRS = 5_000  # a record lists the trials that chose its rates
MAX_POINTS = 100_000  # of a method's grid; trials are drawn from it
Trials = Annotated[int, whole(0, MAX_RATE_PAIRS)]


@dataclass(frozen=True, config=STRICT)
class Views:
    """The image transforms of training and evaluation, and how they interpolate."""

    # transform of training images
    train: Literal[
        "squash",
        "short_side_crop",
        "random_resized_crop_flip",
        "random_crop_flip",
        "squash256_random_crop_flip",
    ]
    # transform of validation and test images
    test: Literal["squash", "short_side_crop", "resize256_crop", "squash256_crop"]
    interpolation: Literal["bicubic", "bilinear", "tf1_bilinear"]  # how images are resized

    def to_json(self) -> dict[str, str]:
        """Return the views as recorded: bicubic, once the only interpolation, is left out."""
        return {k: v for k, v in asdict(self).items() if (k, v) != ("interpolation", "bicubic")}


@dataclass(frozen=True, config=STRICT)
class Tuning:
    """The search of the grid on validation data, with the same budget for every method.

    A method with fewer points than the budget tries all of them.
    """

    by_default: Flag = False  # tune unless --no-tune is given
    trials: Trials = 0  # of a method with as many points; 0: the number of pairs of rates
    seed: Seed = 0  # of the trials, and of the random subset of a larger grid
    halving: Flag = False  # successive halving


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """The hyper-parameters of training."""

    name: Name  # name of the recipe
    title: Line  # one line for tables and lists
    version: Version  # raised when a value changes
    optimiser: Literal["adamw", "sgd"]  # optimiser of all trained parameters
    lr: RateAbove  # learning rate
    weight_decay: Rate  # weight decay of the method's parameters
    head_weight_decay: Rate  # weight decay of the head
    batch: Batch  # batch size
    epochs: Epochs  # epochs of training
    warmup_epochs: EpochsOrNone  # epochs of linear warm-up
    min_lr: Rate  # learning rate at the end of the cosine schedule
    normalisation: Literal["backbone", "imagenet", "none"]  # mean and std of images
    head_init: Literal["trunc_normal", "vpt2022", "linear_probe"]  # initialisation of the head
    pooled_norm: Literal["pretrained", "fresh"]  # the norm after average pooling (MAE)
    test_evaluations: Epochs  # number of evaluations on test, evenly spaced up to the last epoch
    precision: Literal["auto", "fp32", "tf32", "bf16"]  # auto: bf16 if the device has it, or fp32
    views: dict[Name, Views]  # by suite, or "default"
    lr_per_batch: BatchOrNone = 0  # lr scales linearly from this batch size; 0: it does not scale
    train_share: Share = 1.0  # fraction of each class's training images used
    lr_of: dict[str, RateAbove] = field(default_factory=dict)  # by method, for its variants, too
    fields: dict[str, dict[str, Plain]] = field(default_factory=dict)  # by method, or for "all"
    # values that trials choose from
    grid: dict[Literal["lr", "weight_decay"], list[Rate]] = field(default_factory=dict)
    compile: Flag = False  # torch.compile of the blocks: other rounding
    # of methods' fields; and rates of their own, in the place of the grid's
    grid_of: dict[str, dict[str, list[Plain]]] = field(default_factory=dict)
    tuning: Tuning = field(default_factory=Tuning)  # how the grid is searched

    def __post_init__(self) -> None:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"{self.warmup_epochs} warm-up epochs leave none of {self.epochs}")
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
            if not values or len(set(map(_hashable, values))) < len(values):
                given = shorten(values)
                raise ValueError(f"the grid's {name} needs distinct values; {given} was given")
        self._require_rates()
        self._require_small_grid()
        if self.tuning.by_default and not self.grid:
            raise ValueError("tuning by default needs a grid")
        if self.tuning.trials > self.num_points():
            raise ValueError(
                f"{self.tuning.trials} trials are more than any method has points to try: "
                f"{self.num_points()}"
            )

    def _require_rates(self) -> None:
        """Raise `ValueError` if a method has an empty list of rates, or a learning rate of 0."""
        for name, own in self.grid_of.items():
            for axis in sorted(RATE_NAMES & own.keys()):
                if axis not in self.grid:
                    raise ValueError(f"{axis} in the grid of {name} needs one for all methods, too")
                if not all(map(_is_rate, own[axis])):
                    raise ValueError(
                        f"{axis} in the grid of {name} must be numbers from 0; "
                        f"{shorten(own[axis])} was given"
                    )
        of_all: list[Any] = [*self.grid.get("lr", [])]
        if not all(of_all + [lr for own in self.grid_of.values() for lr in own.get("lr", [])]):
            raise ValueError("the grid's lr must be above 0")

    def _require_small_grid(self) -> None:
        """Raise `ValueError` if the grid has more points than could be listed or recorded."""
        pairs = self.num_rate_pairs()
        if pairs > MAX_RATE_PAIRS:
            raise ValueError(
                f"the grid has {pairs:,} pairs of rates; at most {MAX_RATE_PAIRS:,} are allowed"
            )
        for name in self.grid_of:
            count = self._count_points(name)
            if count > MAX_POINTS:
                raise ValueError(
                    f"the grid of {name} has {count:,} points; at most {MAX_POINTS:,} are allowed"
                )

    def num_rate_pairs(self) -> int:
        """Return the number of pairs of a learning rate and a weight decay in the grid."""
        return prod(len(values) for values in self.grid.values())

    def num_points(self) -> int:
        """Return the number of points in the grid of the method that has the most."""
        counts = map(self._count_points, self.grid_of)
        return max(counts, default=self.num_rate_pairs())

    def _count_points(self, method: str) -> int:
        return prod(map(len, self.grid_for(method).values()))

    def grid_for(self, method: str) -> dict[str, Sequence[Any]]:
        """Return a method's grid: the grid of all methods, with the method's own axes in place."""
        own = self.grid_of.get(longest_prefix(method, self.grid_of), {})
        shared: dict[str, Sequence[Any]] = dict(self.grid.items())
        return {**shared, **own}

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


def _is_rate(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value <= MAX_RATE


def _hashable(value: Any) -> Any:
    return repr(value) if isinstance(value, list | dict) else value


def load_recipe(name: str) -> Recipe:
    """Load a recipe by name, or from the card at that path."""
    return load_card(Recipe, "recipe", name, RECIPES_DIR)
