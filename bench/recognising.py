"""What a weights file was pretrained by, where that can be told, and what a card leaves unsaid.

A file says nothing of pooling and normalisation. Some can be recognised all the same: by their
sha256, by parts that one pretraining alone leaves in a file, or by positions that it fixes. Of
files without a head, a supervised network's and DINO's look alike: there nothing is told.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import isqrt
from pathlib import Path

import torch
from torch import Tensor

from bench import weight_files
from bench.cards import BackboneCard, backbone_cards

PARTS = {"mae": "decoder_pos_embed", "mocov3": "base_encoder."}  # by the ending of a card's name
CLOSE = 5e-4  # of sines and cosines: float16, in which some files are kept, rounds by 2.4e-4


def completed(card: BackboneCard, path: Path) -> tuple[BackboneCard, str]:
    """The card with what it leaves unsaid of the file's input, and how that was found, in words.

    Nothing is changed, nor said, where the card says all or names one of timm's own files.
    """
    if (card.pooling and card.mean and card.std) or "." in card.timm:
        return card, ""
    known, why = _known(card, path)
    if known is None:
        return card, f"what {path.name} was pretrained by cannot be told: its input is timm's"
    own = {name: getattr(card, name) or getattr(known, name) for name in ("pooling", "mean", "std")}
    if _model(known) == card.timm:
        own |= {
            name: getattr(card, name) or getattr(known, name)
            for name in ("input_size", "architecture")
        }
    return replace(card, **own), f"{path.name} {why}: its input is that of the card {known.name}"


def _known(card: BackboneCard, path: Path) -> tuple[BackboneCard | None, str]:
    """The project's card whose weights, or whose kind of weights, the file holds; and why."""
    cards, content = backbone_cards(), weight_files.sha256(path)
    for one in cards.values():
        if one.sha256 == content and _model(one) == card.timm:
            return one, "has the sha256 of known weights"
    kind, why = pretrained_by(weight_files.read(path))
    alike = [one for name, one in cards.items() if kind and name.endswith(f".{kind}")]
    alike.sort(key=lambda one: _model(one) != card.timm)
    return (alike[0], why) if alike else (None, "")


def _model(card: BackboneCard) -> str:
    return card.timm.partition(".")[0]


def pretrained_by(weights: Mapping[str, Tensor]) -> tuple[str, str]:
    """``mae``, ``mocov3``, or nothing where it cannot be told; and why."""
    for kind, part in PARTS.items():
        if any(name.removeprefix("module.").startswith(part) for name in weights):
            return kind, f"holds {part.rstrip('.')}"
    for name in ("pos_embed", "module.pos_embed"):
        if name in weights:
            kind = _fixed(weights[name].float())
            return kind, "has fixed positions" if kind else ""
    return "", ""


def _fixed(positions: Tensor) -> str:
    """Whose sines and cosines a class token's and a square map's `positions`, (1, 1 + N, D), are.

    MAE's first half of the channels tells the columns apart, MoCo v3's the rows.
    """
    if positions.ndim != 3 or positions.shape[2] % 4 or positions[0, 0].any():
        return ""
    side, width = isqrt(positions.shape[1] - 1), positions.shape[2]
    if side < 2 or 1 + side**2 != positions.shape[1]:
        return ""
    axis = _waves(side, width // 2)  # (side, D / 2)
    slow, fast = axis.repeat_interleave(side, 0), axis.repeat(side, 1)  # rows, columns: (N, D / 2)
    for kind, halves in (("mae", (fast, slow)), ("mocov3", (slow, fast))):
        if torch.allclose(positions[0, 1:], torch.cat(halves, 1), rtol=0, atol=CLOSE):
            return kind
    return ""


def _waves(count: int, width: int) -> Tensor:
    """Sines, then cosines, of 0 ... `count` - 1 at falling frequencies, (count, width)."""
    half = width // 2
    frequencies = 10_000.0 ** -(torch.arange(half, dtype=torch.float64) / half)
    angles = torch.arange(count, dtype=torch.float64)[:, None] * frequencies  # (count, width / 2)
    return torch.cat([angles.sin(), angles.cos()], 1).float()
