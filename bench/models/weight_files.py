"""Weights files: reading and hashing, recognising the pretraining, and adapter state dicts.

A weights file does not state its pooling and normalisation. Some pretrainings can be recognised:
by the file's sha256, by weights that only one of them leaves in a file, or by its fixed position
embeddings. Without a head, the files of supervised pretraining and of DINO look alike and are not
recognised.

An adapter state dict holds only the tensors that a cell trained or added: kilobytes, to be loaded
over the backbone. Source of the idea: "Storing Visual Prompts", Jia et al., 2022,
https://arxiv.org/abs/2203.12119.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from math import isqrt
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from bench.config.backbone import BackboneCard, backbone_cards
from bench.models import weight_checks
from bench.models.training_mode import moving_statistics
from bench.utils.errors import UserError, first_line
from bench.utils.files import sha256_of_file
from methods.shared.base import Model

WRAPPER_KEYS = ("model", "state_dict")  # of released files, around their weights

_known_finite = set[str]()  # sha256 of files that were checked


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, computed once per process."""
    return _cached_sha256(path, path.stat().st_mtime_ns)


@cache
def _cached_sha256(path: Path, _changed: int) -> str:
    return sha256_of_file(path)


def read(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a weights file by name; raises `UserError` if it is not one."""
    weight_checks.require_weights_file(path)
    is_pickled = path.suffix != ".safetensors"
    if is_pickled:
        weight_checks.require_packed(path)
    try:
        content = (
            torch.load(path, map_location="cpu", weights_only=True)
            if is_pickled
            else load_file(path)
        )
    except Exception as error:  # the unpickler may raise any kind for a damaged file
        raise UserError(f"{path} cannot be read as weights: {first_line(error)}") from None
    for wrapper in WRAPPER_KEYS:
        if isinstance(content, Mapping) and wrapper in content:
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds a {type(content).__name__}, not weights by name")
    return weight_checks.tensors_of(content, path)


def require_finite(weights: Mapping[str, Tensor], path: Path) -> None:
    """Raise `UserError` for a value that is not finite in float32.

    Checked once per process for each file content.
    """
    content = sha256(path)
    if content in _known_finite:
        return
    for name, values in weights.items():
        if not values.is_floating_point():
            continue
        count = int((~values.float().isfinite()).sum())
        if count:
            raise UserError(
                f"{path}: {count} of the {values.numel()} values of {name} are not finite (NaN, or "
                "beyond float32): no network can start from them"
            )
    _known_finite.add(content)


PRETRAINING_MARKERS = {"mae": "decoder_pos_embed", "mocov3": "base_encoder."}  # by card suffix
POSITION_TOLERANCE = 5e-4  # of sines and cosines: some files are float16, which rounds by 2.4e-4


def complete_card(card: BackboneCard, path: Path) -> tuple[BackboneCard, str]:
    """Complete the card's input from the file's pretraining; return a note on how, too.

    A complete card, or one of timm's own files, is returned as it is, without a note.
    """
    if (card.pooling and card.mean and card.std) or "." in card.timm:
        return card, ""
    known, why = _find_matching_card(card, path)
    if known is None:
        return card, f"what {path.name} was pretrained by cannot be told: its input is timm's"
    names = ["pooling", "mean", "std"]
    if _architecture_name(known) == card.timm:
        names += ["input_size", "architecture"]
    fields = {name: getattr(card, name) or getattr(known, name) for name in names}
    return replace(card, **fields), f"{path.name} {why}: its input is that of the card {known.name}"


def _find_matching_card(card: BackboneCard, path: Path) -> tuple[BackboneCard | None, str]:
    """Find the project's card with the file's weights, or with its pretraining; and why."""
    cards, content = backbone_cards(), sha256(path)
    for known in cards.values():
        if known.sha256 == content and _architecture_name(known) == card.timm:
            return known, "has the sha256 of known weights"
    pretraining, why = detect_pretraining(read(path))
    if not pretraining:
        return None, ""
    matching = [known for name, known in cards.items() if name.endswith(f".{pretraining}")]
    matching.sort(key=lambda known: _architecture_name(known) != card.timm)
    return (matching[0], why) if matching else (None, "")


def _architecture_name(card: BackboneCard) -> str:
    return card.timm.partition(".")[0]


def detect_pretraining(weights: Mapping[str, Tensor]) -> tuple[str, str]:
    """Return ``mae``, ``mocov3`` or, if unknown, an empty string; and why."""
    for pretraining, marker in PRETRAINING_MARKERS.items():
        if any(name.removeprefix("module.").startswith(marker) for name in weights):
            return pretraining, f"holds {marker.rstrip('.')}"
    for name in ("pos_embed", "module.pos_embed"):
        if name in weights:
            pretraining = _detect_sincos_positions(weights[name].float())
            return pretraining, "has fixed positions" if pretraining else ""
    return "", ""


def _detect_sincos_positions(positions: Tensor) -> str:
    """Detect the pretraining of sine-cosine `positions`, (1, 1 + N, D), with a class token.

    The first half of the channels encodes the column in MAE, the row in MoCo v3.
    """
    if positions.ndim != 3 or positions.shape[2] % 4 or positions[0, 0].any():
        return ""
    side, width = isqrt(positions.shape[1] - 1), positions.shape[2]
    if side < 2 or 1 + side**2 != positions.shape[1]:
        return ""
    axis = _sincos_embedding(side, width // 2)  # (side, D / 2)
    slow, fast = axis.repeat_interleave(side, 0), axis.repeat(side, 1)  # rows, columns: (N, D / 2)
    for pretraining, halves in (("mae", (fast, slow)), ("mocov3", (slow, fast))):
        if torch.allclose(positions[0, 1:], torch.cat(halves, 1), rtol=0, atol=POSITION_TOLERANCE):
            return pretraining
    return ""


def _sincos_embedding(count: int, width: int) -> Tensor:
    """Return sines, then cosines, of 0 ... `count` - 1 at falling frequencies: (count, width)."""
    half = width // 2
    frequencies = 10_000.0 ** -(torch.arange(half, dtype=torch.float64) / half)
    angles = torch.arange(count, dtype=torch.float64)[:, None] * frequencies  # (count, width / 2)
    return torch.cat([angles.sin(), angles.cos()], 1).float()


def tensor_ids(model: Model) -> set[int]:
    """Return the identities of the model's tensors, for `adapter_state_dict`."""
    return {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}


def adapter_state_dict(model: Model, backbone_ids: set[int]) -> dict[str, Tensor]:
    """Return, on the CPU, the tensors that are trainable or not among those of the backbone.

    A tensor that several modules share has the first of its names.
    """
    names: dict[int, str] = {}
    state = model.state_dict(keep_vars=True)
    moved = {id(tensor) for tensor in moving_statistics(model)}
    for name, tensor in state.items():
        if tensor.requires_grad or id(tensor) not in backbone_ids - moved:
            names.setdefault(id(tensor), name)
    return {name: state[name].detach().cpu().contiguous() for name in names.values()}


def load_adapter_state(model: Model, tensors: dict[str, Tensor]) -> None:
    """Load an adapter state dict into a model to which the same method was attached.

    Raises `UserError` if names or shapes are not those of this method.
    """
    state = model.state_dict()
    for name, tensor in tensors.items():
        if name not in state or state[name].shape != tensor.shape:
            raise UserError(f"{name}, {tuple(tensor.shape)}, has no place in this method's model")
    missing = [n for n, p in model.named_parameters() if p.requires_grad and n not in tensors]
    if missing:
        raise UserError(f"{missing[0]} learns in this method's model, and is not in the file")
    model.load_state_dict(tensors, strict=False)
