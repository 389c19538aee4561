"""A backbone card becomes a frozen timm model with a new head, and the input that it wants."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log
from pathlib import Path
from types import MappingProxyType
from typing import Any

import timm
import torch
from timm.layers import Attention
from timm.models import VisionTransformer
from timm.models.vision_transformer import checkpoint_filter_fn
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
from bench.models import weight_files
from bench.utils.errors import UserError, first_line, unknown_name

CHECKPOINT_PREFIXES = (
    "module.base_encoder.",
    "module.",
    "encoder.",
)  # MoCo-v3's full and linear-probe files
PRETRAINING_KEYS = (
    "decoder_",
    "mask_token",
    "momentum_encoder.",
    "predictor.",
)  # MAE's and MoCo-v3's
NON_BACKBONE_KEYS = ("head.", "fc.", "pre_logits.", *PRETRAINING_KEYS)
PATCH_EMBED_KEY = "patch_embed.proj.weight"


@dataclass(frozen=True)
class Backbone:
    """A card whose weights are at hand."""

    card: BackboneCard
    input: InputSpec
    weights: Path | None  # None: the seeded random initialisation
    sha256: str
    notes: tuple[str, ...] = ()  # what a user should know of how it was found


def find(name: str, changes: Mapping[str, Any] = MappingProxyType({})) -> Backbone:
    """The backbone that a request calls `name`, with its changes; raises as `resolve` does."""
    card = override_backbone(load_backbone(name), dict(changes))
    found, renamed = resolve(card, name), rename_note(name, canonical_name(name))
    return replace(found, notes=(renamed, *found.notes)) if renamed else found


def resolve(card: BackboneCard, called: str = "") -> Backbone:
    """Check that the card's model is one that the methods serve, and find its weights.

    `called` is how the request names it, where that is not the card's own name. Raises `UserError`
    for an unknown or unfit model and for weights that cannot be had, are another model's or hold
    what is no number.
    """
    card = replace(card, timm=current_timm_name(card.timm))
    model, wanted = _build_on_meta(card)
    path = _find_weights(card, called or card.name)
    sha256 = weight_files.sha256(path) if path else RANDOM_WEIGHTS
    if card.sha256 and sha256 != card.sha256:
        raise UserError(f"{path} has sha256 {sha256}; the card of {card.name} says {card.sha256}")
    if path is None:
        return Backbone(card, wanted, path, sha256)
    whole, note = weight_files.complete_card(card, path) if card.weights else (card, "")
    if whole != card:
        model, wanted = _build_on_meta(whole)
    _load_weights(model, path, whole, "pretrained")
    return Backbone(whole, wanted, path, sha256, (note,) if note else ())


def _build_on_meta(card: BackboneCard) -> tuple[VisionTransformer, InputSpec]:
    """The card's network on the meta device, with one class, and the input that it wants."""
    wanted = _resolve_input(card)
    with torch.device("meta"):
        model = _build(card, wanted, classes=1)
    return model, replace(wanted, pooling=model.global_pool)


def load(backbone: Backbone, classes: int, recipe: Recipe) -> VisionTransformer:
    """The pretrained model, frozen but for a new head of `classes` scores.

    The head draws from torch's global generator; nothing else does.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # `torch.manual_seed` would seed GPUs, too
        model = _build(backbone.card, backbone.input, classes)
        if backbone.weights:
            found = _load_weights(model, backbone.weights, backbone.card, recipe.pooled_norm)
            model.load_state_dict(found, strict=False)
    model.requires_grad_(False)
    HEAD_INITS[recipe.head_init](model.get_classifier())
    model.get_classifier().requires_grad_(True)
    return model


def build(backbone: Backbone, classes: int) -> VisionTransformer:
    """The network without its weights."""
    return _build(backbone.card, backbone.input, classes)


def move_to_device(model: VisionTransformer, device: torch.device) -> VisionTransformer:
    """The same model on `device`, with attention in the form that is fast there."""
    if device.type == "cpu":
        use_plain_attention(model)
    return model.to(device)


def use_plain_attention(model: VisionTransformer) -> None:
    """Compute attention as products of matrices.

    On a CPU torch's fused form is no faster in fp32, and several times slower backwards in bf16.
    """
    for module in model.modules():
        if isinstance(module, Attention):
            module.fused_attn = False


def normalisation(backbone: Backbone, recipe: Recipe) -> ChannelStatistics:
    """The mean and standard deviation that the recipe wants, of pixels in [0, 1]."""
    return select_statistics((backbone.input.mean, backbone.input.std), recipe.normalisation)


def _resolve_input(card: BackboneCard) -> InputSpec:
    name = card.timm.split(".")[0]
    if not timm.is_model(name):
        models = timm.list_models(["*vit*", "*deit*"])
        raise unknown_name("backbone", card.timm, [*backbone_cards(), *models])
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


def _build(card: BackboneCard, wanted: InputSpec, classes: int) -> VisionTransformer:
    pooling = {"global_pool": card.pooling} if card.pooling in ("token", "avg") else {}
    options = {"img_size": wanted.size, **card.architecture, **pooling}
    try:
        model = _create(card, num_classes=classes, **options)
    except Exception as error:  # timm raises many kinds; a model that is not ours says so first
        _require_plain_vit(card, _create(card, num_classes=classes))
        raise UserError(
            f"{card.name}: timm cannot build it with {options}: {first_line(error)}"
        ) from None
    _require_plain_vit(card, model)
    return model


def _create(card: BackboneCard, **options: Any) -> nn.Module:
    return timm.create_model(card.timm.split(".")[0], **options)


def _require_plain_vit(card: BackboneCard, model: nn.Module) -> None:
    """Raise `UserError` for a model that is not a Vision Transformer with one linear head."""
    plain = isinstance(model, VisionTransformer) and isinstance(model.get_classifier(), nn.Linear)
    if not plain:
        raise UserError(
            f"{card.name} is a {type(model).__name__}; the methods here serve plain Vision "
            "Transformers (timm's VisionTransformer: ViT, DeiT, DINOv2, MAE, MoCo-v3 ...)"
        )


def _find_weights(card: BackboneCard, called: str) -> Path | None:
    """The card's file, fetched from timm's hub where the card names none; None for ``random``."""
    if card.weights == RANDOM_WEIGHTS:
        return None
    hint = f"with the file at hand, name it as --backbones {called}@FILE"
    if not card.weights:
        return _download(card, f"{hint}.safetensors")
    places = [Path(card.weights), WEIGHTS_DIR / card.weights]
    for place in places:
        if place.is_file():
            return place
    looked = f"looked for {' and '.join(map(str, places))}"
    raise UserError(
        f"the weights of {card.name} are not there: {looked}"
        + ("" if "@" in called else f"; {hint}")
    )


def _download(card: BackboneCard, hint: str) -> Path:
    from huggingface_hub import hf_hub_download  # slow to import; cards with a file never need it

    settings = timm.get_pretrained_cfg(card.timm)
    home = settings and settings.hf_hub_id
    if not home:
        raise UserError(f"timm has no weights of {card.name}; {hint}")
    try:
        return Path(hf_hub_download(home, "model.safetensors"))
    except Exception as error:  # the hub's client raises many kinds, all meaning the same here
        raise UserError(
            f"the weights of {card.name} are not on this machine and could not be downloaded from "
            f"{home} ({type(error).__name__}); {hint}"
        ) from None


def _load_weights(
    model: VisionTransformer, path: Path, card: BackboneCard, pooled_norm: str
) -> dict[str, Tensor]:
    """The weights in the file at `path` under the names of `model`: all but the head's.

    Behind average pooling timm's norm is called ``fc_norm``: it takes the checkpoint's ``norm``
    or, where `pooled_norm` is ``fresh``, stays at the identity, as VPT's code has it with MAE.
    """
    found = weight_files.read(path).items()
    weights = _drop_non_backbone({_strip_prefixes(name): value for name, value in found})
    weight_files.require_finite(weights, path)
    if not isinstance(model.fc_norm, nn.Identity) and "fc_norm.weight" not in weights:
        for part in ("weight", "bias"):
            norm = weights.pop(f"norm.{part}", None)
            if norm is not None:
                fresh = getattr(model.fc_norm, part).detach()
                weights[f"fc_norm.{part}"] = fresh if pooled_norm == "fresh" else norm
    try:
        weights = _adapt_checkpoint(model, weights)
    except Exception as error:  # what timm does not expect fails in many ways
        raise UserError(f"{path} does not fit {card.timm}: {first_line(error)}") from None
    _require_matching_weights(model, weights, path, card)
    return weights


def _adapt_checkpoint(model: VisionTransformer, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """What timm makes of published files: its names, and positions for the model's image size."""
    patches = {n: value for n, value in weights.items() if n == PATCH_EMBED_KEY and value.ndim == 4}
    return {**checkpoint_filter_fn(weights, model), **patches}  # timm would resize patches, too


def _strip_prefixes(name: str) -> str:
    for prefix in CHECKPOINT_PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _drop_non_backbone(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: value for name, value in weights.items() if not name.startswith(NON_BACKBONE_KEYS)
    }


def _require_matching_weights(
    model: VisionTransformer, weights: dict[str, Tensor], path: Path, card: BackboneCard
) -> None:
    """Raise `UserError` unless `weights` are the model's own, head apart, in name and shape."""
    want = _drop_non_backbone(dict(model.state_dict()))
    for kind, names in (("lacks", want.keys() - weights), ("has unknown", weights.keys() - want)):
        if names:
            shown = ", ".join(sorted(names)[:3]) + (" ..." if len(names) > 3 else "")
            raise UserError(f"{path} {kind} {shown}: not weights of {card.timm}")
    for name, value in want.items():
        found, wanted = tuple(weights[name].shape), tuple(value.shape)
        if found != wanted:
            raise UserError(f"{path}: {name} is {found}; {card.timm} wants {wanted}")


def _init_trunc_normal(head: nn.Linear) -> None:
    nn.init.trunc_normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)


def _init_prior_of_one_percent(head: nn.Linear) -> None:
    nn.init.kaiming_normal_(head.weight, mode="fan_out")
    nn.init.constant_(head.bias, -log(99))


HEAD_INITS = {"trunc_normal": _init_trunc_normal, "vpt2022": _init_prior_of_one_percent}
