"""Checkpoints: the weights of a model in a file, under the names that their own code gave them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from bench.models import npz_weights, state_dicts, weight_checks, weight_files
from bench.utils.errors import UserError

# names of other codes for a first convolution, or what stands in its place: CLIP and Perception
# Encoder, ConvNeXt, AIMv2, BEiT-3, RADIO, MobileCLIP; timm converts all of them
FOREIGN_STEMS = (
    "conv1.weight",
    "downsample_layers.0.0.weight",
    "preprocessor.patchifier.proj.weight",
    "beit3.vision_embed.proj.weight",
    "radio_model.model.patch_generator.embedder.weight",
    "image_encoder.model.patch_emb.0.block.conv.weight",
)


@dataclass(frozen=True)
class Checkpoint:
    """The weights of one model in a file."""

    path: Path
    weights: dict[str, Tensor]  # by the file's names; of an .npz, shapes on the meta device
    is_npz: bool = False
    place: str = ""  # of the state dict in the file: ``state_dict.module.base_encoder``
    note: str = ""  # for the user: which of several state dicts it is


def read(path: Path, model: Any, wanted: str = "") -> Checkpoint:
    """Read the state dict of a `model` in a file: the one that is `wanted`, where it has several.

    Raises `UserError` for a file that holds no weights, or none that timm converts.
    """
    weight_checks.require_weights_file(path)
    if weight_checks.kind_of(path) == "npz":
        if wanted:
            raise UserError(f"{path} is an .npz, of one model; state_dict={wanted} was asked for")
        return Checkpoint(path, npz_weights.read(path, model), is_npz=True)
    tensors = weight_files.read(path)
    stem = stem_name(model)
    stems = [stem, *(name for name in FOREIGN_STEMS if name != stem)]
    weights, place, note = state_dicts.choose(tensors, stems, wanted, path.name)
    kind = "" if any(n in weights for n in stems) else weight_checks.foreign_kind(weights)
    if kind:
        raise UserError(f"{path} holds {kind}: name timm's own file of these weights instead")
    return Checkpoint(path, weights, place=place, note=note)


def stem_name(model: Any) -> str:
    """Return the name of the model's first convolution, by which a file's weights are found."""
    return next(name for name, p in model.named_parameters() if p.ndim == 4)
