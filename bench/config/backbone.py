"""Backbone cards: which timm model, which weights, and the input that they expect."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from bench.config.bounds import Argument, BackboneName, Count, Line, NameOrPath, Real, Side
from bench.config.loading import BACKBONES_FILE, WEIGHTS_DIR, read_toml, validate
from bench.records.schema import STRICT
from bench.utils.errors import UserError
from bench.utils.names import shorten

RENAMED_PREFIXES = {"vit_deit_": "deit_"}  # renamed before timm kept a table of deprecated names


def current_timm_name(name: str) -> str:
    """Return timm's present name of a model; other names are returned unchanged.

    Raises `UserError` for a model that timm has removed.
    """
    from timm import is_model  # slow to import; the project's own cards never need it
    from timm.models import get_deprecated_models

    for old, new in RENAMED_PREFIXES.items():
        if name.startswith(old) and is_model(new + name.removeprefix(old).partition(".")[0]):
            return new + name.removeprefix(old)
    known = get_deprecated_models()
    plain, dot, tag = name.partition(".")
    if dot and known.get(plain):
        raise UserError(
            f"timm has renamed {plain} to {known[plain]}: use that name, without the tag {tag}"
        )
    if name not in known:
        return name
    if known[name] is None:
        raise UserError(f"timm has removed {name} without a replacement")
    return str(known[name])


def rename_note(old: str, new: str) -> str:
    """Describe a change of a model's name; empty if it has not changed."""
    return f"timm has renamed {old} to {new}" if old != new else ""


DEPTHS = "depth", "depths", "layers"  # as timm's constructors call the number of blocks
MAX_DEPTH = 200  # blocks: to build them takes some milliseconds each, before any compute
RANDOM_WEIGHTS = "random"  # instead of a weights file: the baseline without pretraining


@dataclass(frozen=True, config=STRICT)
class BackboneCard:
    """A pretrained model: its architecture, its weights, and the input that it expects."""

    name: BackboneName
    timm: Line  # timm's model name, with the tag where the weights are timm's
    weights: NameOrPath = ""  # in the card's folder or bench/weights, or "random"; empty: timm's
    sha256: Line = ""  # of the weights file; checked if given
    state_dict: Line = ""  # of several in the file: ``teacher``; empty: see `state_dicts`
    # Where left out: as for the known weights that the file is recognised as, else as in timm:
    pooling: Literal["", "token", "avg", "backbone"] = ""  # backbone: as in timm's model
    input_size: Side = 0  # pixels
    mean: list[Real] = field(default_factory=list)  # of each channel, in [0, 1]
    std: list[Real] = field(default_factory=list)
    pretraining: Line = ""  # one line: data and objective
    family: Line = ""  # timm's class of the model
    licence: Line = ""  # of the weights
    source: NameOrPath = ""  # the page that the weights are from
    urls: list[NameOrPath] = field(default_factory=list)  # of the weights file, tried in turn
    megabytes: Count = 0  # of the download, about; 0: not known
    evidence: Line = ""  # one line: a measurement that shows that the weights are pretrained
    architecture: dict[Line, Argument] = field(default_factory=dict)  # of timm's constructor

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and len(values) != 3:
                raise ValueError(f"{name} needs 3 numbers, a channel each; {values} was given")
        if self.std and min(self.std) <= 0:
            raise ValueError(f"std must be above 0 in each channel; {self.std} was given")
        if sum(map(self._blocks, DEPTHS)) > MAX_DEPTH:
            raise ValueError(f"architecture.depth may be {MAX_DEPTH:,} blocks at most")

    def _blocks(self, argument: str) -> int:
        """Return the number of blocks that an argument of the architecture asks for."""
        value = self.architecture.get(argument, 0)
        stages = value if isinstance(value, list) else [value]
        if not all(isinstance(stage, int) for stage in stages):
            raise ValueError(f"architecture.{argument} counts blocks; {value} was given")
        return sum(map(int, stages))


# what a card says of its weights file, which is not of another
OF_THE_FILE = {
    "sha256": "",
    "state_dict": "",
    "licence": "",
    "source": "",
    "urls": [],
    "megabytes": 0,
}


def load_backbone(name: str) -> BackboneCard:
    """Load a card by name or path; ``NAME@FILE`` replaces its weights file.

    Any other name is taken to be a timm model, which `bench.models.backbones` checks; a name that
    timm has deprecated stands for the new one.
    """
    if name.endswith(".toml"):
        path = Path(name)
        card = validate(BackboneCard, f"the card {path}", read_toml(path, "backbone"))
        if card.weights in ("", RANDOM_WEIGHTS):
            return card
        local = (path.parent / card.weights).resolve()
        known = os.path.isfile(WEIGHTS_DIR / card.weights)
        return card if known and not os.path.isfile(local) else replace(card, weights=str(local))
    plain, at, file = name.partition("@")
    if at:
        _require_both_sides(name, plain, file)
        card = load_backbone(plain)
        own = {"name": f"{card.name}@{Path(file).stem}", "weights": file, **OF_THE_FILE}
        origin = f"--backbones {shorten(name)}, of which the file's name becomes part of the"
        return validate(BackboneCard, origin, asdict(card) | own)
    if os.path.isfile(name):
        raise UserError(f"{name} is a file, not a backbone: name a model with it, MODEL@{name}")
    now = canonical_name(name)
    own_card = backbone_cards().get(now)
    return own_card or validate(BackboneCard, "the backbone", {"name": now, "timm": now})


def _require_both_sides(name: str, plain: str, file: str) -> None:
    """Raise `UserError` for ``NAME@`` and ``@FILE``."""
    if not (plain.strip() and file.strip()):
        missing = "a weights file after" if plain.strip() else "the name of a backbone before"
        raise UserError(f"--backbones {shorten(name)}: {missing} the @ was expected")


def canonical_name(name: str) -> str:
    """Return the present spelling of a backbone's name: timm has renamed some models."""
    plain, at, file = name.partition("@")
    if name.endswith(".toml") or plain.endswith(".toml") or plain in backbone_cards():
        return name
    return current_timm_name(plain) + at + file


def backbone_cards() -> dict[str, BackboneCard]:
    """Load the project's own cards, by name."""
    tables = read_toml(BACKBONES_FILE, "backbone")
    origin = f"the card {BACKBONES_FILE}"
    return {name: validate(BackboneCard, origin, {"name": name, **t}) for name, t in tables.items()}


# mean and standard deviation of each channel
ChannelStatistics = tuple[tuple[float, ...], tuple[float, ...]]

IMAGENET_STATISTICS: ChannelStatistics = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NO_NORMALISATION: ChannelStatistics = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)  # pixels stay in [0, 1]


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """The input that a backbone expects, and how its output is pooled."""

    size: int  # pixels, height and width
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pooling: str


def select_statistics(own: ChannelStatistics, wanted: str) -> ChannelStatistics:
    """Return the mean and std that a recipe normalises with, for pixels in [0, 1]."""
    return {"backbone": own, "imagenet": IMAGENET_STATISTICS, "none": NO_NORMALISATION}[wanted]


def describe_input(recorded: Mapping[str, Any], wanted: str = "backbone") -> str:
    """Describe a recorded input and the normalisation in use; `wanted` is the recipe's.

    >>> describe_input({"size": 224, "pooling": "avg", "mean": [0.5] * 3, "std": [0.5] * 3})
    'pooling avg, 224 pixels, mean (0.5, 0.5, 0.5), std (0.5, 0.5, 0.5)'
    """
    own = tuple(recorded.get("mean", ())), tuple(recorded.get("std", ()))
    mean, std = select_statistics(own, wanted)
    whose = "" if wanted == "backbone" else " (the recipe's)"
    parts = [
        f"pooling {recorded.get('pooling', 'not said')}",
        f"{recorded['size']} pixels" if "size" in recorded else "",
        f"mean {_format_channels(mean)}" if mean else "",
        f"std {_format_channels(std)}{whose}" if std else "",
    ]
    return ", ".join(filter(None, parts))


def _format_channels(values: Sequence[float]) -> str:
    return f"({', '.join(f'{value:g}' for value in values)})"
