"""Recognition of the pretraining of a weights file, which determines pooling and normalisation.

A weights file does not state them. Some pretrainings can be recognised: by the file's sha256, by
weights or names that only one of them leaves in a file, or by its fixed position embeddings.
Without a head, the files of supervised pretraining and of DINO look alike and are not recognised.
"""

from dataclasses import replace
from math import isqrt

import torch
from torch import Tensor

from bench.config.backbone import BackboneCard, backbone_cards
from bench.models import weight_files
from bench.models.checkpoints import Checkpoint
from bench.utils.errors import UserError

POSITION_TOLERANCE = 5e-4  # of sines and cosines: some files are float16, which rounds by 2.4e-4


def complete_card(card: BackboneCard, found: Checkpoint) -> tuple[BackboneCard, str]:
    """Complete the card's input from the file's pretraining; also return a note on it.

    A complete card, or one of timm's own files, is returned as it is, without a note unless the
    file was pretrained in another way. Raises `UserError` where the card's name says so, too.
    """
    known, why = _find_matching_card(card, found)
    if (card.pooling and card.mean and card.std) or "." in card.timm:
        return card, _contradiction(card, known, f"{found.path.name} {why}")
    if known is None:
        return card, f"what {found.path.name} was pretrained by cannot be told: its input is timm's"
    names = ["pooling", "mean", "std"]
    if _architecture_name(known) == card.timm:
        names += ["input_size", "architecture"]
    fields = {name: getattr(card, name) or getattr(known, name) for name in names}
    note = f"{found.path.name} {why}: its input is that of the card {known.name}"
    return replace(card, **fields), note


def _contradiction(card: BackboneCard, known: BackboneCard | None, why: str) -> str:
    """Say what a complete card has other than the known card of its file; empty if nothing.

    Raises `UserError` if the card is named after other weights.
    """
    if known is None:
        return ""
    named = backbone_cards().get(_own_name(card)) or (card if "." in card.timm else None)
    if named and _pretraining_name(named) != _pretraining_name(known):
        raise UserError(
            f"{why}, as that of the card {known.name}; {_own_name(card)} is of other weights: name "
            f"{known.name}@FILE, or {_architecture_name(card)}@FILE, which takes its input from "
            "the file"
        )
    differing = [
        f"{name} {getattr(card, name)} instead of {getattr(known, name)}"
        for name in ("pooling", "mean", "std")
        if getattr(card, name) not in ("", [], getattr(known, name))
    ]
    return f"{why}, as that of the card {known.name}: {', '.join(differing)}" if differing else ""


def _own_name(card: BackboneCard) -> str:
    """Return the name that a card had before a file and changes became part of it."""
    return card.name.partition("@")[0].partition("[")[0]


def _pretraining_name(card: BackboneCard) -> str:
    """Return how a card's weights were pretrained: its tag, or its name where it has none."""
    tags = card.timm.partition(".")[2], _own_name(card).partition(".")[2]
    return next(filter(None, tags), _own_name(card))


def _find_matching_card(card: BackboneCard, found: Checkpoint) -> tuple[BackboneCard | None, str]:
    """Find the project's card with the file's weights, or with its pretraining; and why."""
    cards, content = backbone_cards(), weight_files.sha256(found.path)
    for known in cards.values():
        if known.sha256 == content and _architecture_name(known) == _architecture_name(card):
            return known, "has the sha256 of known weights"
    pretraining, why = detect_pretraining(found)
    matching = [known for name, known in cards.items() if name.endswith(f".{pretraining}")]
    matching.sort(key=lambda known: _architecture_name(known) != _architecture_name(card))
    return (matching[0], why) if pretraining and matching else (None, "")


def _architecture_name(card: BackboneCard) -> str:
    return card.timm.partition(".")[0]


def detect_pretraining(found: Checkpoint) -> tuple[str, str]:
    """Return ``mae``, ``mocov3`` or, if unknown, an empty string; and why.

    Both are of Vision Transformers with a class token.
    """
    if found.is_npz or "cls_token" not in found.weights:
        return "", ""
    if any(name.startswith("decoder_pos_embed") for name in found.weights):
        return "mae", "holds decoder_pos_embed"
    if "base_encoder" in found.place.split("."):
        return "mocov3", "holds base_encoder"
    positions = found.weights.get("pos_embed")
    pretraining = "" if positions is None else _detect_sincos_positions(positions.float())
    return pretraining, "has fixed positions" if pretraining else ""


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
