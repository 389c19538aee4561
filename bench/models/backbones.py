"""Backbones: a card becomes a frozen timm model with a new head, and the input that it expects."""

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import log
from pathlib import Path
from types import MappingProxyType
from typing import Any

import timm
import torch
from torch import Tensor, nn

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
from bench.config.loading import WEIGHTS_DIR
from bench.config.overrides import override_backbone
from bench.config.recipe import Recipe
from bench.models import weight_checks, weight_files
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

# of MoCo-v3's full and linear-probe files
CHECKPOINT_PREFIXES = ("module.base_encoder.", "module.", "encoder.")
# MAE's and MoCo-v3's
PRETRAINING_KEYS = ("decoder_", "mask_token", "momentum_encoder.", "predictor.")
HEAD_KEYS = ("head.", "head_dist.", "fc.", "pre_logits.")
PATCH_EMBED_KEY = "patch_embed.proj.weight"


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


def resolve(card: BackboneCard, requested_name: str = "") -> Backbone:
    """Check that the methods support the card's model, and find its weights.

    `requested_name` is the request's name for it, if not the card's own. Raises `UserError` for an
    unknown or unsupported model, and for weights that are unavailable, belong to another model or
    are not finite.
    """
    card = replace(card, timm=current_timm_name(card.timm))
    model, input_spec = _build_on_meta(card)
    path = _find_weights(card, requested_name or card.name)
    sha256 = weight_files.sha256(path) if path else RANDOM_WEIGHTS
    if card.sha256 and sha256 != card.sha256:
        raise UserError(f"{path} has sha256 {sha256}; the card of {card.name} says {card.sha256}")
    said = tuple(remarks(model))
    if path is None:
        return Backbone(card, input_spec, path, sha256, said)
    completed, note = weight_files.complete_card(card, path) if card.weights else (card, "")
    if completed != card:
        model, input_spec = _build_on_meta(completed)
    _load_weights(model, path, completed, "pretrained")
    return Backbone(completed, input_spec, path, sha256, (note, *said) if note else said)


def _build_on_meta(card: BackboneCard) -> tuple[Model, InputSpec]:
    """Build the card's model on the meta device, with one class; return its input, too."""
    input_spec = _resolve_input(card)
    with torch.device("meta"):
        model = _build(card, input_spec, classes=1)
    return model, replace(input_spec, pooling=pooling_of(model))


def load(backbone: Backbone, classes: int, recipe: Recipe) -> Model:
    """Load the pretrained model: frozen, with a new trainable head for `classes`.

    Only the head's initialisation draws from torch's global generator.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # `torch.manual_seed` would seed GPUs, too
        model = _build(backbone.card, backbone.input, classes)
        if backbone.weights:
            weights = _load_weights(model, backbone.weights, backbone.card, recipe.pooled_norm)
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


def _resolve_input(card: BackboneCard) -> InputSpec:
    name = card.timm.split(".")[0]
    if not timm.is_model(name):
        raise unknown_name("backbone", card.timm, {*backbone_cards(), *timm.list_models()})
    try:
        settings = timm.get_pretrained_cfg(card.timm)
    except RuntimeError:  # an unknown tag
        tags = map(str, timm.list_pretrained(f"{name}.*"))
        raise unknown_name("backbone", card.timm, [*backbone_cards(), *tags]) from None
    if settings is None and not (card.input_size and card.mean and card.std):
        raise UserError(
            f"timm does not say what input {card.timm} wants: a card of your own can, by "
            "input_size, mean and std"
        )
    size = card.input_size or settings.input_size[-1]
    mean, std = card.mean or settings.mean, card.std or settings.std
    return InputSpec(size, tuple(map(float, mean)), tuple(map(float, std)), card.pooling)


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
            f"{card.name} is a {kind.__name__}, a family of timm whose structure no method here "
            f"knows; those known are {', '.join(families())}"
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


def _find_weights(card: BackboneCard, requested_name: str) -> Path | None:
    """Find the card's weights file, or download timm's if it names none; None for ``random``."""
    if card.weights == RANDOM_WEIGHTS:
        return None
    hint = f"with the file at hand, name it as --backbones {requested_name}@FILE"
    if not card.weights:
        return _download(card, f"{hint}.safetensors")
    candidates = [Path(card.weights), WEIGHTS_DIR / card.weights]
    for path in candidates:
        if os.path.exists(path):  # False, too, for a name that no file can have
            weight_checks.require_weights_file(path)
            return path
    looked = f"looked for {' and '.join(map(str, candidates))}"
    raise UserError(
        f"the weights of {card.name} are not there: {looked}"
        + ("" if "@" in requested_name else f"; {hint}")
    )


def _download(card: BackboneCard, hint: str) -> Path:
    from huggingface_hub import hf_hub_download  # slow to import; cards with a file never need it

    settings = timm.get_pretrained_cfg(card.timm)
    repository = settings and settings.hf_hub_id
    if not repository:
        raise UserError(f"timm has no weights of {card.name}; {hint}")
    try:
        return Path(hf_hub_download(repository, "model.safetensors"))
    except Exception as error:  # the hub's client raises many kinds, with the same meaning here
        raise UserError(
            f"the weights of {card.name} are not on this machine and could not be downloaded from "
            f"{repository} ({type(error).__name__}); {hint}"
        ) from None


def _load_weights(
    model: Model, path: Path, card: BackboneCard, pooled_norm: str
) -> dict[str, Tensor]:
    """Load the weights in the file at `path` under the names of `model`, without the head.

    With average pooling, timm's last norm is ``fc_norm``: it gets the checkpoint's ``norm`` or, if
    `pooled_norm` is ``fresh``, stays at the identity, as in VPT's code with MAE.
    """
    content = weight_files.read(path).items()
    weights = {_strip_prefixes(name): value for name, value in content}
    weights = {n: value for n, value in weights.items() if not n.startswith(PRETRAINING_KEYS)}
    pooled = getattr(model, "fc_norm", nn.Identity())
    if not isinstance(pooled, nn.Identity) and "fc_norm.weight" not in weights:
        for part in ("weight", "bias"):
            norm = weights.pop(f"norm.{part}", None)
            if norm is not None:
                fresh = getattr(pooled, part).detach()
                weights[f"fc_norm.{part}"] = fresh if pooled_norm == "fresh" else norm
    try:
        weights = _drop_head(model, _adapt_checkpoint(model, weights))
    except Exception as error:  # timm raises many kinds for what it does not expect
        raise UserError(f"{path} does not fit {card.timm}: {first_line(error)}") from None
    weight_files.require_finite(weights, path)
    _require_matching_weights(model, weights, path, card)
    return weights


def _adapt_checkpoint(model: Model, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert published weights as timm does: its names, and resized position embeddings."""
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", _keep_names)
    patches = {n: value for n, value in weights.items() if n == PATCH_EMBED_KEY and value.ndim == 4}
    return {**convert(weights, model), **patches}  # timm would resize patches, too


def _keep_names(weights: dict[str, Tensor], _model: Model) -> dict[str, Tensor]:
    return weights


def _strip_prefixes(name: str) -> str:
    for prefix in CHECKPOINT_PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _drop_head(model: Model, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop the file's head, also one that the model does not have."""
    own = _backbone_state(model)
    return {n: value for n, value in weights.items() if n in own or not n.startswith(HEAD_KEYS)}


def _backbone_state(model: Model) -> dict[str, Tensor]:
    """Return the model's tensors by name, without its head's."""
    head = {id(p) for p in heads_of(model).parameters()}
    state = model.state_dict(keep_vars=True).items()
    return {name: value for name, value in state if id(value) not in head}


def _require_matching_weights(
    model: Model, weights: dict[str, Tensor], path: Path, card: BackboneCard
) -> None:
    """Raise `UserError` unless names and shapes are the model's, without the head."""
    own = _backbone_state(model)
    counters = {name for name, value in own.items() if not value.is_floating_point()}
    lacking, unknown = own.keys() - weights - counters, weights.keys() - own
    for kind, names in (("lacks", lacking), ("has unknown", unknown)):
        if names:
            shown = ", ".join(sorted(names)[:3]) + (" ..." if len(names) > 3 else "")
            raise UserError(f"{path} {kind} {shown}: not weights of {card.timm}")
    for name in (name for name in own if name in weights):
        given, expected = tuple(weights[name].shape), tuple(own[name].shape)
        if given != expected:
            raise UserError(f"{path}: {name} is {given}; {card.timm} wants {expected}")


def _init_trunc_normal(head: nn.Linear) -> None:
    nn.init.trunc_normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)


def _init_prior_of_one_percent(head: nn.Linear) -> None:
    nn.init.kaiming_normal_(head.weight, mode="fan_out")
    nn.init.constant_(head.bias, -log(99))


HEAD_INITS: dict[str, Callable[[Any], None]] = {
    "trunc_normal": _init_trunc_normal,
    "vpt2022": _init_prior_of_one_percent,
}
