"""Suites, tasks, recipes and backbones, as the TOML cards declare them; read and checked here."""

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, field, fields, is_dataclass, replace
from math import inf, prod
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from bench import encodings, renames
from bench.errors import UserError, unknown
from bench.tasks import STRICT, Split, Task

ROOT = Path(__file__).parent.parent
SUITES = ROOT / "datasets"
RECIPES = ROOT / "bench" / "recipes"
BACKBONES = ROOT / "bench" / "backbones.toml"
WEIGHTS = ROOT / "bench" / "weights"
RANDOM = "random"  # in place of a weights file: shows what pretraining gives

NOT_PROTOCOL = ("title", "views", "lr_of", "fields", "grid", "grid_of", "tuning", "precision")
T = TypeVar("T")


@dataclass(frozen=True, config=STRICT)
class Selection:
    """What is run where the command line does not say."""

    methods: list[str]
    backbones: list[str]
    seeds: list[int]
    tasks: list[str] = field(default_factory=list)  # empty: all

    def __post_init__(self) -> None:
        for kind in ("methods", "backbones", "seeds"):
            if not getattr(self, kind):
                raise ValueError(f"{kind} must name at least one")


@dataclass(frozen=True, config=STRICT)
class Suite:
    """Tasks under one protocol."""

    name: str
    title: str
    version: int  # raised when a split changes: tables never mix versions
    recipe: str
    default: Selection
    task: list[Task]
    demo: Selection | None = None  # what a bare `run` does
    folder: str = ""  # below the data root
    home: str = ""  # where to get the data: named when they are absent
    lists: dict[Split, list[str]] = field(default_factory=dict)  # list files a split

    def __post_init__(self) -> None:
        names = [task.name for task in self.task]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the task {twice[0]!r} stands twice")
        absent = [split for split in ("trainval", "test") if not self.lists.get(split)]
        if absent and not all(task.embedded or task.source for task in self.task):
            raise ValueError(f"lists names no file for {absent[0]}")

    def groups(self) -> list[str]:
        """The groups in the order of the card."""
        return list(dict.fromkeys(task.group for task in self.task))

    def find(self, name: str) -> Task:
        """The task called `name`."""
        for task in self.task:
            if task.name == name:
                return task
        raise unknown(f"task of suite {self.name!r}", name, [task.name for task in self.task])


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

    def recorded(self) -> dict[str, str]:
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
        if not 0 <= self.tuning.trials <= self.pairs():
            raise ValueError(
                f"{self.tuning.trials} trials are not as many for every method: the grid has "
                f"{self.pairs()} pairs of rates, and some methods have nothing else to try"
            )

    def pairs(self) -> int:
        """How many pairs of a learning rate and a weight decay the grid has."""
        return prod(len(values) for values in self.grid.values())

    def view(self, suite: str) -> Views:
        """The views for a suite."""
        return self.views[self.view_name(suite)]

    def view_name(self, suite: str) -> str:
        """What the views for a suite are called: after it, or ``default``."""
        return suite if suite in self.views else "default"

    def rates(self, method: str) -> dict[str, float]:
        """The learning rate and weight decay of a method."""
        lr = self.lr_of.get(family(method, self.lr_of), self.lr)
        return {"lr": lr, "weight_decay": self.weight_decay}

    def fields_of(self, method: str, known: Iterable[str]) -> dict[str, Any]:
        """What the recipe says of a method's fields: for all that have the field, then by name."""
        common = {k: v for k, v in self.fields.get("all", {}).items() if k in known}
        return {**common, **self.fields.get(family(method, self.fields), {})}

    def protocol(self, suite: str, precision: str) -> dict[str, Any]:
        """What can change a number and is the same for every method of a suite's table.

        `precision` is what the device makes of the recipe's. A whole `train_share` goes unsaid: so
        all were, before there was a choice.
        """
        shared = {k: v for k, v in asdict(self).items() if k not in NOT_PROTOCOL}
        if not self.compile:  # goes unsaid: so were all records, before there was a choice
            del shared["compile"]
        if self.train_share == 1:
            del shared["train_share"]
        return {**shared, "view": self.view(suite).recorded(), "precision": precision}


def family(method: str, known: Iterable[str]) -> str:
    """The longest of the `known` names that `method` is or extends: spt_deep of spt_deep_kmeans."""
    return max((n for n in known if f"{method}_".startswith(f"{n}_")), key=len, default="")


@dataclass(frozen=True, config=STRICT)
class BackboneCard:
    """A pretrained model: what to build, which weights, and how it wants its input."""

    name: str
    timm: str  # timm's model name, with the tag where the weights are timm's
    weights: str = ""  # a file beside the card or in bench/weights; RANDOM; empty: timm's own
    sha256: str = ""  # of the weights' file; checked where given
    # Left out, as known weights have it that the file turns out to be, else as timm has it:
    pooling: Literal["", "token", "avg", "backbone"] = ""  # backbone: as timm's model has it
    input_size: int = 0  # pixels
    mean: list[float] = field(default_factory=list)  # of each channel, in [0, 1]
    std: list[float] = field(default_factory=list)
    pretraining: str = ""  # one line: on what, how
    evidence: str = ""  # one line: what shows that the weights are pretrained
    architecture: dict[str, int] = field(default_factory=dict)  # arguments of timm's constructor

    def __post_init__(self) -> None:
        if self.input_size < 0:
            raise ValueError(f"input_size must be above 0; {self.input_size} was given")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and (len(values) != 3 or not all(abs(value) < inf for value in values)):
                raise ValueError(f"{name} needs 3 numbers, a channel each; {values} was given")
        if self.std and min(self.std) <= 0:
            raise ValueError(f"std must be above 0 in each channel; {self.std} was given")


def load_suite(name: str) -> Suite:
    """The suite called `name`, or the one of the card at that path."""
    return load(Suite, "suite", name, SUITES)


def load_recipe(name: str) -> Recipe:
    """The recipe called `name`, or the one of the card at that path."""
    return load(Recipe, "recipe", name, RECIPES)


def load_backbone(name: str) -> BackboneCard:
    """The card called `name`, or at that path; ``NAME@FILE`` is the same with another weights file.

    Any other name is taken for one of timm's, which `bench.backbones` checks; one that timm has
    changed, for the new one.
    """
    if name.endswith(".toml"):
        path = Path(name)
        card = checked(BackboneCard, f"the card {path}", _toml(path, "backbone"))
        if card.weights in ("", RANDOM):
            return card
        beside = (path.parent / card.weights).resolve()
        known = (WEIGHTS / card.weights).is_file()
        return card if known and not beside.is_file() else replace(card, weights=str(beside))
    plain, at, file = name.partition("@")
    if at:
        card = load_backbone(plain)
        return replace(card, name=f"{card.name}@{Path(file).stem}", weights=file, sha256="")
    now = current_name(name)
    return backbone_cards().get(now) or BackboneCard(name=now, timm=now)


def current_name(name: str) -> str:
    """What a name of a backbone is to be written as now: timm has changed some of its own."""
    plain, at, file = name.partition("@")
    if name.endswith(".toml") or plain.endswith(".toml") or plain in backbone_cards():
        return name
    return renames.current(plain) + at + file


def backbone_cards() -> dict[str, BackboneCard]:
    """The project's own cards."""
    tables = _toml(BACKBONES, "backbone")
    origin = f"the card {BACKBONES}"
    return {name: checked(BackboneCard, origin, {"name": name, **t}) for name, t in tables.items()}


def names(folder: Path) -> list[str]:
    """The names of the cards in `folder`."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def load(cls: type[T], kind: str, name: str, folder: Path) -> T:
    """The card called `name` in `folder`, or the one at that path where it ends in .toml."""
    path = Path(name) if name.endswith(".toml") else folder / f"{name}.toml"
    if not name.endswith(".toml") and not path.exists():
        raise unknown(kind, name, names(folder))
    return checked(cls, f"the card {path}", _toml(path, kind))


def _toml(path: Path, kind: str) -> dict[str, Any]:
    try:
        return tomllib.loads(encodings.text(path.read_bytes()))
    except FileNotFoundError:
        raise UserError(f"no {kind} card at {path}") from None
    except (OSError, encodings.NotText, tomllib.TOMLDecodeError) as error:
        raise UserError(f"the {kind} card {path} cannot be read: {error}") from None


def checked(cls: type[T], origin: str, table: dict[str, Any]) -> T:
    """The table as a `cls`; raises `UserError` that names `origin` and the entry at fault."""
    try:
        return TypeAdapter(cls).validate_python(table)
    except ValidationError as error:
        errors = error.errors()  # a misspelt key shows as an unknown one and a missing one
        first = next((e for e in errors if e["type"].startswith("unexpected")), errors[0])
        where = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        if known := first["type"].startswith("unexpected") and _entries(cls, first["loc"][:-1]):
            what = str(unknown("entry", str(first["loc"][-1]), known))
        raise UserError(": ".join(filter(None, (origin, where, what)))) from None


def _entries(cls: Any, place: Sequence[Any]) -> list[str]:
    """What a table at a `place` of a `cls` may hold; empty where that cannot be told."""
    for part in place:
        if isinstance(part, str) and is_dataclass(cls):
            cls = get_type_hints(cls).get(part)
        while get_args(cls) and not is_dataclass(cls):
            cls = next((of for of in get_args(cls) if is_dataclass(of)), get_args(cls)[-1])
    return [f.name for f in fields(cls)] if is_dataclass(cls) else []
