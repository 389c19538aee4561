"""Weights files: the tensors that they hold, whatever wraps them, and their hashes."""

# MERGED bench.models.weight_files: """What a weights file was pretrained by, where that can be told, and what a card leaves unsaid.
#
# A file says nothing of pooling and normalisation. Some can be recognised all the same: by their
# sha256, by parts that one pretraining alone leaves in a file, or by positions that it fixes. Of
# files without a head, a supervised network's and DINO's look alike: there nothing is told.
# """
# MERGED bench.models.weight_files: """What a cell trained, as tensors: the kilobytes that differ from the backbone, and the way back.
#
# Source of the idea: "Storing Visual Prompts", Jia et al., 2022, https://arxiv.org/abs/2203.12119.
# """
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from math import isqrt
from pathlib import Path

import torch
from safetensors.torch import load_file
from timm.models import VisionTransformer
from torch import Tensor

from bench.config.backbone import BackboneCard, backbone_cards
from bench.utils.errors import UserError, first_line

WRAPPER_KEYS = ("model", "state_dict")  # under which released files keep their weights

_known_finite = set[str]()  # sha256 of files whose values were looked through


def sha256(path: Path) -> str:
    """The hash of a file's bytes, computed once a process."""
    return _cached_sha256(path, path.stat().st_mtime_ns)


@cache
def _cached_sha256(path: Path, _changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file by the file's names; raises `UserError` for what is none."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes the unpickler raise any kind
        raise UserError(_explain_unreadable(path, error)) from None
    for wrapper in WRAPPER_KEYS:
        if isinstance(content, Mapping) and wrapper in content:
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds a {type(content).__name__}, not weights by name")
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def _explain_unreadable(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        start = file.read(64)
    if not start or start.lstrip().startswith(b"<"):
        what = "a web page, not weights" if start else "empty"
        return f"{path} is {what}: its download went wrong"
    return f"{path} cannot be read as weights: {first_line(error)}"


def require_finite(weights: Mapping[str, Tensor], path: Path) -> None:
    """Raise `UserError` for a value that is no number, or none in float32, where networks compute.

    Of each file's bytes that is found out once a process.
    """
    content = sha256(path)
    if content in _known_finite:
        return
    for name, values in weights.items():
        if not values.is_floating_point():
            continue
        odd = int((~values.float().isfinite()).sum())
        if odd:
            raise UserError(
                f"{path}: {odd} of the {values.numel()} values of {name} are not finite (NaN, or "
                "beyond float32): no network can start from them"
            )
    _known_finite.add(content)


PRETRAINING_MARKERS = {
    "mae": "decoder_pos_embed",
    "mocov3": "base_encoder.",
}  # by the ending of a card's name
POSITION_TOLERANCE = (
    5e-4  # of sines and cosines: float16, in which some files are kept, rounds by 2.4e-4
)


def complete_card(card: BackboneCard, path: Path) -> tuple[BackboneCard, str]:
    """The card with what it leaves unsaid of the file's input, and how that was found, in words.

    Nothing is changed, nor said, where the card says all or names one of timm's own files.
    """
    if (card.pooling and card.mean and card.std) or "." in card.timm:
        return card, ""
    known, why = _find_matching_card(card, path)
    if known is None:
        return card, f"what {path.name} was pretrained by cannot be told: its input is timm's"
    own = {name: getattr(card, name) or getattr(known, name) for name in ("pooling", "mean", "std")}
    if _architecture_name(known) == card.timm:
        own |= {
            name: getattr(card, name) or getattr(known, name)
            for name in ("input_size", "architecture")
        }
    return replace(card, **own), f"{path.name} {why}: its input is that of the card {known.name}"


def _find_matching_card(card: BackboneCard, path: Path) -> tuple[BackboneCard | None, str]:
    """The project's card whose weights, or whose kind of weights, the file holds; and why."""
    cards, content = backbone_cards(), sha256(path)
    for one in cards.values():
        if one.sha256 == content and _architecture_name(one) == card.timm:
            return one, "has the sha256 of known weights"
    kind, why = detect_pretraining(read(path))
    alike = [one for name, one in cards.items() if kind and name.endswith(f".{kind}")]
    alike.sort(key=lambda one: _architecture_name(one) != card.timm)
    return (alike[0], why) if alike else (None, "")


def _architecture_name(card: BackboneCard) -> str:
    return card.timm.partition(".")[0]


def detect_pretraining(weights: Mapping[str, Tensor]) -> tuple[str, str]:
    """``mae``, ``mocov3``, or nothing where it cannot be told; and why."""
    for kind, part in PRETRAINING_MARKERS.items():
        if any(name.removeprefix("module.").startswith(part) for name in weights):
            return kind, f"holds {part.rstrip('.')}"
    for name in ("pos_embed", "module.pos_embed"):
        if name in weights:
            kind = _detect_sincos_positions(weights[name].float())
            return kind, "has fixed positions" if kind else ""
    return "", ""


def _detect_sincos_positions(positions: Tensor) -> str:
    """Whose sines and cosines a class token's and a square map's `positions`, (1, 1 + N, D), are.

    MAE's first half of the channels tells the columns apart, MoCo v3's the rows.
    """
    if positions.ndim != 3 or positions.shape[2] % 4 or positions[0, 0].any():
        return ""
    side, width = isqrt(positions.shape[1] - 1), positions.shape[2]
    if side < 2 or 1 + side**2 != positions.shape[1]:
        return ""
    axis = _sincos_embedding(side, width // 2)  # (side, D / 2)
    slow, fast = axis.repeat_interleave(side, 0), axis.repeat(side, 1)  # rows, columns: (N, D / 2)
    for kind, halves in (("mae", (fast, slow)), ("mocov3", (slow, fast))):
        if torch.allclose(positions[0, 1:], torch.cat(halves, 1), rtol=0, atol=POSITION_TOLERANCE):
            return kind
    return ""


def _sincos_embedding(count: int, width: int) -> Tensor:
    """Sines, then cosines, of 0 ... `count` - 1 at falling frequencies, (count, width)."""
    half = width // 2
    frequencies = 10_000.0 ** -(torch.arange(half, dtype=torch.float64) / half)
    angles = torch.arange(count, dtype=torch.float64)[:, None] * frequencies  # (count, width / 2)
    return torch.cat([angles.sin(), angles.cos()], 1).float()


def tensor_ids(model: VisionTransformer) -> set[int]:
    """What marks the tensors that `model` has now."""
    return {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}


def adapter_state_dict(model: VisionTransformer, bare: set[int]) -> dict[str, Tensor]:
    """What learns in `model` or was not among its tensors when `bare` was taken, on the CPU.

    A tensor that several modules share goes by the first of its names.
    """
    names: dict[int, str] = {}
    own = model.state_dict(keep_vars=True)
    for name, tensor in own.items():
        if tensor.requires_grad or id(tensor) not in bare:
            names.setdefault(id(tensor), name)
    return {name: own[name].detach().cpu().contiguous() for name in names.values()}


def load_adapter_state(model: VisionTransformer, tensors: dict[str, Tensor]) -> None:
    """Load what `added` gave into a model to which the same method was attached.

    Raises `UserError` where the tensors are not those that this method adds.
    """
    own = model.state_dict()
    for name, tensor in tensors.items():
        if name not in own or own[name].shape != tensor.shape:
            raise UserError(f"{name}, {tuple(tensor.shape)}, has no place in this method's model")
    missing = [n for n, p in model.named_parameters() if p.requires_grad and n not in tensors]
    if missing:
        raise UserError(f"{missing[0]} learns in this method's model, and is not in the file")
    model.load_state_dict(tensors, strict=False)
