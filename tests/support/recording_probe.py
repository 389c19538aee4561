"""A linear probe that records every image it is shown, in runs of whole cells."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from methods.linear import Linear


@dataclass(frozen=True)
class Pass:
    """A batch on its way through the model."""

    training: bool  # the model's mode
    gradients: bool  # whether they are kept
    images: Tensor  # (B, 3, H, W)


@dataclass
class Notes:
    """Recorded batches, passes and initial heads, in order."""

    prepared: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # batches, in `prepare`
    passes: list[Pass] = field(default_factory=list)
    heads: list[Tensor] = field(default_factory=list)  # weights at the start, (classes, D)

    def images(self, training: bool) -> Tensor:
        """All images that passed in training or evaluation mode, (images, 3, H, W)."""
        return torch.cat([one.images for one in self.passes if one.training == training])


@dataclass(frozen=True)
class Noting(Linear):
    """Its hook on the patch embedding keeps features from being computed ahead."""

    notes: ClassVar[Notes] = Notes()

    def attach(self, model):
        def note(module, given):
            seen = Pass(module.training, torch.is_grad_enabled(), given[0].detach().clone())
            self.notes.passes.append(seen)

        model.patch_embed.proj.register_forward_pre_hook(note)

    def prepare(self, model, batches):
        self.notes.prepared.extend((images.clone(), labels) for images, labels in batches)
        self.notes.heads.append(model.head.weight.detach().clone())
        self.attach(model)


def as_listed(folder: Path, *lists: str) -> tuple[Tensor, Tensor]:
    """The images of list files, normalised by hand with mean and deviation 0.5, and labels."""
    text = "".join((folder / name).read_text(encoding="utf-8") for name in lists)
    lines = [line.rpartition(" ") for line in text.splitlines()]
    pixels = [np.asarray(Image.open(folder / name)) for name, _, _ in lines]
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 255
    return (images - 0.5) / 0.5, torch.tensor([int(label) for _, _, label in lines])


def places(images: Tensor, among: Tensor) -> list[int]:
    """The index of each image among others, or -1 if it is none of them."""
    apart = torch.cdist(images.flatten(1), among.flatten(1)) / images[0].numel() ** 0.5
    nearest = apart.min(1)
    # an unlike one is 0.8 away; products of matrices in float32 leave some 1e-3
    found = zip(nearest.indices.tolist(), nearest.values.tolist(), strict=True)
    return [place if distance < 0.05 else -1 for place, distance in found]
