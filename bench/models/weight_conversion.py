"""Conversion of a checkpoint to the names of a timm model, by timm's own converters."""

import contextlib
import inspect
import io
import re
import sys
from collections.abc import Callable
from typing import Any

import timm
import torch
from torch import Tensor

from bench.config.backbone import BackboneCard
from bench.models import checkpoints, npz_weights, state_dicts, weight_files
from bench.models.checkpoints import Checkpoint
from bench.utils.errors import UserError, first_line
from methods.shared.base import Model
from methods.shared.structure import heads_of

HEADS = ("head.", "head_dist.", "fc.", "pre_logits.", "attn_pool.")
# of masked-image modelling: decoders, and what stands for a masked patch
PRETRAINING = ("decoder_", "decoder.", "mask_token", "lm_head.")
BLOCK = re.compile(r"^(?:blocks|layers|stages)\.(\d+)\.")
# of networks that timm trains at many sizes; others are resized by its defaults
BILINEAR = {"interpolation": "bilinear", "antialias": False}
OPTIONS: dict[str, dict[str, Any]] = {"flexi": BILINEAR, "radio": BILINEAR}  # by part of the name


def convert(
    found: Checkpoint, model: Model, card: BackboneCard, pooled_norm: str = "pretrained"
) -> dict[str, Tensor]:
    """Return the weights under the names of `model`, without its head.

    With average pooling, timm's last norm is ``fc_norm``: it gets the checkpoint's ``norm`` or, if
    `pooled_norm` is ``fresh``, stays at the identity, as in VPT's code with MAE. Raises `UserError`
    for weights that are not this model's or not finite.
    """
    _require_same_patches(found, model, card)
    try:
        converted = _convert(found, model, card)
    except UserError:
        raise
    except Exception as error:  # timm raises many kinds for what it does not expect
        raise UserError(f"{found.path} does not fit {card.timm}: {first_line(error)}") from None
    weights = _place_last_norm(_undo_guess(converted, found), model, pooled_norm)
    own = _backbone_state(model)
    weights = {
        name: value
        for name, value in weights.items()
        if name in own or not name.startswith((*HEADS, *PRETRAINING))
    }
    weight_files.require_finite(weights, found.path, found.place)
    _require_matching(weights, own, found, card)
    return weights


def _convert(found: Checkpoint, model: Model, card: BackboneCard) -> dict[str, Tensor]:
    if found.is_npz:
        return npz_weights.convert(found.path, found.weights, model)
    weights = _as_timm_expects(found.weights)
    filter_fn = _converter_of(model, card)
    if filter_fn is None:
        return weights
    with contextlib.redirect_stdout(io.StringIO()):  # timm prints what it tries
        return dict(filter_fn(weights, model, **_options(filter_fn, card)))


def _converter_of(model: Model, card: BackboneCard) -> Callable[..., dict[str, Tensor]] | None:
    """Return timm's converter for the model: that of the module that builds it, or of its class."""
    builder = timm.model_entrypoint(card.timm.partition(".")[0])
    modules = (sys.modules[one.__module__] for one in (builder, type(model)))
    found = (getattr(module, "checkpoint_filter_fn", None) for module in modules)
    return next(filter(None, found), None)


def _as_timm_expects(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a copy of the weights with the names by which timm recognises whose they are.

    CLIP's vision tower stands below ``visual.``; of DINOv2's files, all have a mask token.
    """
    if "conv1.weight" in weights and "class_embedding" in weights:
        return {f"visual.{name}": value for name, value in weights.items()}
    mask = {"mask_token": torch.zeros(1)} if "register_tokens" in weights else {}
    return mask | weights


def _options(filter_fn: Any, card: BackboneCard) -> dict[str, Any]:
    """Return how timm calls its converter for this model."""
    known = inspect.signature(filter_fn).parameters
    options = {"adapt_layer_scale": True}  # DeiT-3's names; other files have none such
    for part, more in OPTIONS.items():
        options |= more if part in card.timm else {}
    return {name: value for name, value in options.items() if name in known}


def _undo_guess(converted: dict[str, Tensor], found: Checkpoint) -> dict[str, Tensor]:
    """Call a norm as the file does: of EVA's, timm guesses that it stands behind the pooling."""
    guessed = {name for name in converted if name.startswith("fc_norm.")} - found.weights.keys()
    return {n.removeprefix("fc_") if n in guessed else n: v for n, v in converted.items()}


def _place_last_norm(
    weights: dict[str, Tensor], model: Model, pooled_norm: str
) -> dict[str, Tensor]:
    """Call the last norm as the model does: ``fc_norm``, where it stands behind the pooling."""
    own, placed = model.state_dict(), dict(weights)
    if "fc_norm.weight" not in own or "norm.weight" in own or "fc_norm.weight" in weights:
        return placed
    for part in ("weight", "bias"):
        norm = placed.pop(f"norm.{part}", None)
        if norm is not None:
            fresh = own[f"fc_norm.{part}"]
            placed[f"fc_norm.{part}"] = fresh if pooled_norm == "fresh" else norm
    return placed


def _backbone_state(model: Model) -> dict[str, Tensor]:
    """Return the model's tensors by name, without its head's."""
    head = {id(p) for p in heads_of(model).parameters()}
    state = model.state_dict(keep_vars=True).items()
    return {name: value for name, value in state if id(value) not in head}


def _require_same_patches(found: Checkpoint, model: Model, card: BackboneCard) -> None:
    """Raise `UserError` for patches of another size: timm would resample them."""
    stem = checkpoints.stem_name(model)
    own = tuple(model.get_parameter(stem).shape[-2:])
    if found.is_npz:
        given = npz_weights.patch_size(found.weights)
    else:
        names = (stem, *checkpoints.FOREIGN_STEMS)
        kernel = next((found.weights[n] for n in names if n in found.weights), torch.empty(0))
        given = tuple(kernel.shape[-2:]) if kernel.ndim == 4 else ()
    if given and given != own:
        raise UserError(
            f"{found.path}: {stem} is of {given[0]} x {given[1]} pixels; {card.name} "
            f"wants {own[0]} x {own[1]}"
        )


def _require_matching(
    weights: dict[str, Tensor], own: dict[str, Tensor], found: Checkpoint, card: BackboneCard
) -> None:
    """Raise `UserError` unless names and shapes are the model's, without the head."""
    counters = {name for name, value in own.items() if not value.is_floating_point()}
    lacking, unknown = own.keys() - weights - counters, weights.keys() - own
    for kind, names in (("lacks", lacking), ("has unknown", unknown)):
        if names:
            shown = ", ".join(sorted(names)[:3]) + (" ..." if len(names) > 3 else "")
            raise UserError(
                f"{found.path} {kind} {shown}: not weights of {card.timm}{_compare(weights, own)}"
            )
    for name in (name for name in own if name in weights):
        given, expected = tuple(weights[name].shape), tuple(own[name].shape)
        if given != expected:
            raise UserError(f"{found.path}: {name} is {given}; {card.timm} wants {expected}")


def _compare(weights: dict[str, Tensor], own: dict[str, Tensor]) -> str:
    """Say in a clause where a file and a card contradict each other; empty if it is not plain."""
    given, expected = (state_dicts.block_count(names, BLOCK) for names in (weights, own))
    if given != expected:
        return f" with {expected} blocks: it has {given}"
    if "fc_norm.weight" in weights and "fc_norm.weight" not in own:
        return " with the pooling of its card: it has fc_norm, as pooling avg has"
    return ""
