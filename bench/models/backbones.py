"""Backbones: a card becomes a frozen timm model with a new head, and the input that it expects."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import log
from pathlib import Path
from types import MappingProxyType
from typing import Any

import timm
import torch
from torch import nn

from bench.config.backbone import (
    RANDOM_WEIGHTS,
    BackboneCard,
    ChannelStatistics,
    InputSpec,
    backbone_cards,
    canonical_name,
    current_timm_name,
    load_backbone,
    rename_note,
    select_statistics,
)
from bench.config.overrides import override_backbone
from bench.config.recipe import LINEAR_PROBE, Recipe
from bench.models import checkpoints, pretrainings, weight_conversion, weight_files, weight_places
from bench.utils.errors import UserError, first_line, unknown_name
from methods import Unsupported
from methods.shared.base import Model
from methods.shared.structure import (
    belongs_to_family,
    families,
    heads_of,
    pooling_of,
    remarks,
    require_linear_heads,
)


@dataclass(frozen=True)
class Backbone:
    """A backbone card with its weights file and the input that it expects."""

    card: BackboneCard
    input: InputSpec
    weights: Path | None  # None: the seeded random initialisation
    sha256: str
    notes: tuple[str, ...] = ()  # for the user: how name and input were resolved


def find(name: str, changes: Mapping[str, Any] = MappingProxyType({})) -> Backbone:
    """Resolve the backbone that a request calls `name`, with its changes; raises as `resolve`."""
    card = override_backbone(load_backbone(name), dict(changes))
    backbone, renamed = resolve(card, name), rename_note(name, canonical_name(name))
    return replace(backbone, notes=(renamed, *backbone.notes)) if renamed else backbone


def model_class(name: str) -> type[nn.Module]:
    """Return timm's class of the backbone that a request calls `name`; reads no weights.

    Raises `UserError` as `resolve` does for an unknown or unsupported model.
    """
    card = load_backbone(name)
    card = replace(card, timm=current_timm_name(card.timm))
    _resolve_input(card)  # raises for a name that timm does not have
    return _require_family(card, card.timm.split(".")[0])


def resolve(card: BackboneCard, requested_name: str = "") -> Backbone:
    """Check that the methods support the card's model, and find its weights.

    `requested_name` is the request's name for it, if not the card's own. Raises `UserError` for an
    unknown or unsupported model, and for weights that are unavailable, belong to another model or
    are not finite.
    """
    card = replace(card, timm=current_timm_name(card.timm))
    model, input_spec = _build_on_meta(card)
    path = weight_places.find(card, requested_name or card.name)
    sha256 = weight_files.sha256(path) if path else RANDOM_WEIGHTS
    if card.sha256 and sha256 != card.sha256:
        raise UserError(f"{path} has sha256 {sha256}; the card of {card.name} says {card.sha256}")
    said = tuple(remarks(model))
    if path is None:
        if card.state_dict:
            raise UserError(f"{card.name} has no weights file, so no state dict {card.state_dict}")
        return Backbone(card, input_spec, path, sha256, said)
    found = checkpoints.read(path, model, card.state_dict)
    completed, note = pretrainings.complete_card(card, found) if card.weights else (card, "")
    if completed != card:
        model, input_spec = _build_on_meta(completed)
    weight_conversion.convert(found, model, completed)
    notes = (*filter(None, (found.note, note)), *said)
    return Backbone(completed, input_spec, path, sha256, notes)


def _build_on_meta(card: BackboneCard) -> tuple[Model, InputSpec]:
    """Build the card's model on the meta device, with one class; also return its input."""
    input_spec = _resolve_input(card)
    with torch.device("meta"):
        model = _build(card, input_spec, classes=1)
        _require_visible(model, card, input_spec.size)
    return model, replace(input_spec, pooling=pooling_of(model))


def _require_visible(model: Model, card: BackboneCard, size: int) -> None:
    """Raise `UserError` for an input size that the model, on the meta device, cannot see whole.

    timm leaves out the last pixels of a size that is no multiple of its patches'. A model and a
    size that are timm's own are not tried: that takes half as long as building the model.
    """
    settings = timm.get_pretrained_cfg(card.timm)
    if settings and settings.input_size[-1] == size and not card.architecture:
        return
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", (1, 1))[0]
    if size % patch:
        near = [n for n in (size // patch * patch, (size // patch + 1) * patch) if n]
        raise UserError(
            f"{card.name} cannot see {size} pixels in patches of {patch}: "
            f"{' or '.join(map(str, near))} would do"
        )
    try:
        model.eval()(torch.empty(1, 3, size, size))
    except Exception as error:  # torch and timm raise many kinds
        raise UserError(
            f"{card.name} cannot see {size} x {size} pixels: {first_line(error)}"
        ) from None


def load(backbone: Backbone, classes: int, recipe: Recipe) -> Model:
    """Load the pretrained model: frozen, with a new trainable head for `classes`.

    Only the head's initialisation draws from torch's global generator.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # `torch.manual_seed` would seed GPUs, too
        model = _build(backbone.card, backbone.input, classes)
        if backbone.weights:
            found = checkpoints.read(backbone.weights, model, backbone.card.state_dict)
            norm = recipe.pooled_norm
            weights = weight_conversion.convert(found, model, backbone.card, norm)
            model.load_state_dict(weights, strict=False)
    model.requires_grad_(False)
    for head in heads_of(model).requires_grad_(True):
        HEAD_INITS[recipe.head_init](head)
    return model


def num_parameters(backbone: Backbone) -> int:
    """Count the parameters of the model without its head, on the meta device."""
    with torch.device("meta"):
        model = build(backbone, classes=1)
    head = sum(p.numel() for p in heads_of(model).parameters())
    return sum(p.numel() for p in model.parameters()) - head


def build(backbone: Backbone, classes: int) -> Model:
    """Build the model without its pretrained weights."""
    return _build(backbone.card, backbone.input, classes)


def move_to_device(model: Model, device: torch.device) -> Model:
    """Move the model to `device`, with the attention that is fast there; return it."""
    if device.type == "cpu":
        use_plain_attention(model)
    return model.to(device)


def use_plain_attention(model: Model) -> None:
    """Replace fused attention by plain matrix products.

    On a CPU, torch's fused attention is no faster in fp32, and its backward pass in bf16 several
    times slower.
    """
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False


def normalisation(backbone: Backbone, recipe: Recipe) -> ChannelStatistics:
    """Return mean and standard deviation of the recipe's normalisation, for pixels in [0, 1]."""
    return select_statistics((backbone.input.mean, backbone.input.std), recipe.normalisation)


def require_known(card: BackboneCard) -> None:
    """Raise `UserError` unless timm knows the card's model, and the tag of its weights."""
    _resolve_input(card)


def _resolve_input(card: BackboneCard) -> InputSpec:
    name = card.timm.split(".")[0]
    if not timm.is_model(name):
        raise _unknown_backbone(card.timm)
    try:
        settings = timm.get_pretrained_cfg(card.timm)
    except RuntimeError:  # an unknown tag
        known = [*backbone_cards(), *map(str, timm.list_pretrained(f"{name}.*"))]
        raise unknown_name("backbone", card.timm, known, f"{name} has no such tag") from None
    if settings is None and not (card.input_size and card.mean and card.std):
        raise UserError(
            f"timm does not state the input of {card.timm}: set input_size, mean and std in a card "
            "of your own"
        )
    size = card.input_size or settings.input_size[-1]
    mean, std = card.mean or settings.mean, card.std or settings.std
    return InputSpec(size, tuple(map(float, mean)), tuple(map(float, std)), card.pooling)


def _unknown_backbone(name: str) -> UserError:
    """Return the error for a name that neither timm nor the project knows."""
    known = [*backbone_cards(), *timm.list_models()]
    hint = "python -m bench list backbones shows the project's own; any name of timm's works, too"
    return unknown_name("backbone", name, known, hint)


def timm_arguments(card: BackboneCard, input_spec: InputSpec) -> tuple[str, dict[str, Any]]:
    """Return the name and the options with which timm creates the card's model."""
    name = card.timm.split(".")[0]
    kind = _require_family(card, name)
    pooling = {"global_pool": card.pooling} if card.pooling in ("token", "avg") else {}
    return name, {**_default_options(kind, input_spec.size), **card.architecture, **pooling}


def _build(card: BackboneCard, input_spec: InputSpec, classes: int) -> Model:
    name, options = timm_arguments(card, input_spec)
    try:
        model = timm.create_model(name, num_classes=classes, **options)
        require_linear_heads(model)
    except Unsupported as error:
        raise UserError(f"{card.name} cannot be a backbone: {error}") from None
    except Exception as error:  # timm raises many kinds
        raise UserError(
            f"{card.name}: timm cannot build it with {options}: {first_line(error)}"
        ) from None
    return model


def _require_family(card: BackboneCard, name: str) -> type[nn.Module]:
    """Return the class of a timm model; raises `UserError` if methods do not know its family."""
    kind = _model_class(name)
    if not belongs_to_family(kind):
        raise UserError(
            f"{card.name} is a {kind.__name__}, a timm family that no method supports; supported "
            f"are {', '.join(families())}"
        )
    return kind


@cache
def _model_class(name: str) -> type[nn.Module]:
    """Build a timm model on the meta device: only then is its class known."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return type(timm.create_model(name, num_classes=1))


def _default_options(kind: type[nn.Module], size: int) -> dict[str, Any]:
    """Return the constructor's options that every card has, unless its architecture says otherwise.

    No stochastic depth: of the families, only Swin's default is not 0.
    """
    options: dict[str, Any] = {"img_size": size, "drop_path_rate": 0.0}
    constructors = (vars(base)["__init__"] for base in kind.__mro__ if "__init__" in vars(base))
    takes = {name for init in constructors for name in inspect.signature(init).parameters}
    if "img_size" not in takes:  # a network for any size, which timm then notes here
        options["pretrained_cfg_overlay"] = {"input_size": (3, size, size)}
        takes.add("pretrained_cfg_overlay")
    return {name: value for name, value in options.items() if name in takes}


def _init_trunc_normal(head: nn.Linear) -> None:
    nn.init.trunc_normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)


def _init_prior_of_one_percent(head: nn.Linear) -> None:
    nn.init.kaiming_normal_(head.weight, mode="fan_out")
    nn.init.constant_(head.bias, -log(99))


def _init_zero(head: nn.Linear) -> None:
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)


HEAD_INITS: dict[str, Callable[[Any], None]] = {
    "trunc_normal": _init_trunc_normal,
    "vpt2022": _init_prior_of_one_percent,
    LINEAR_PROBE: _init_zero,  # until it is fitted to the training images
}
