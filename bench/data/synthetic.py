"""Synthetic images: any suite of image files at its true counts and sizes, without its data.

``--data-root synthetic`` draws an image when it is read, from its task, split and number: a coarse
grid of colours, a part of which its class has in common. So a job can be rehearsed as it will be:
its plan, memory, time and tables. The numbers say nothing about a method.
"""

import hashlib
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bench.config.suite import SPLITS, Split, Task
from bench.records.schema import SYNTHETIC

DRAWING = 1  # raised when other pixels are drawn: part of the digest of the data
GRID = 6  # colours across and down an image
SHARED_PERCENT = 30  # of a class's grid in an image; the rest is the image's own


class Drawing(NamedTuple):
    """All that an image is drawn from."""

    task: str
    split: Split
    number: int  # in the split
    label: int
    height: int
    width: int

    @property
    def name(self) -> str:
        """The image's name, for messages."""
        return f"{self.split}/{self.number}"

    def digest(self) -> str:
        """Return a digest of the drawing parameters, in place of file hashes."""
        return hashlib.sha256(f"{DRAWING} {tuple(self)}".encode()).hexdigest()


def is_synthetic(root: Path) -> bool:
    """Return whether a data root asks for drawn images: it is the word, and names no folder."""
    return root == Path(SYNTHETIC)


def problem(task: Task) -> str:
    """Return why a task's test images cannot be drawn, as a sentence; empty if they can."""
    if not task.pixels:
        return f"the card of {task.name} does not say the pixels of an image: pixels = [375, 500]"
    if not count_images(task, "test"):
        return f"the card of {task.name} does not say how many test images there are: its counts"
    return ""


def count_images(task: Task, split: Split) -> int:
    """Return the number of images of a split by the card; 0: it does not say."""
    if task.draw and split == "train":
        return task.draw.shots * task.classes
    if task.counts.get(split):
        return task.counts[split][0]
    if split not in task.shares:
        return 0
    share = task.shares[split]
    return round(task.keys[share.source].counts[0] * (share.last - share.first) / 100)


def drawings(task: Task, split: Split, classes: Sequence[int]) -> list[Drawing]:
    """Return the images of a split, which is no union; their labels, of `classes`, in balance."""
    count, (height, width) = count_images(task, split), task.pixels
    order = _generator(task.name, split, count).permutation(count) % len(classes)
    return [
        Drawing(task.name, split, number, classes[place], height, width)
        for number, place in enumerate(order.tolist())
    ]


def draw(one: Drawing) -> Tensor:
    """Draw an image: uint8, (3, H, W)."""
    own = _generator(one.task, one.split, one.number).integers(256, size=(GRID, GRID, 3))
    mixed = own + SHARED_PERCENT * (_class_grid(one.task, one.label) - own) // 100
    small = Image.fromarray(mixed.astype(np.uint8))
    picture = np.array(small.resize((one.width, one.height), Image.Resampling.BILINEAR))
    return torch.from_numpy(picture).permute(2, 0, 1).contiguous()  # (3, H, W)


@lru_cache(maxsize=10_000)
def _class_grid(task: str, label: int) -> NDArray[np.int64]:
    """Draw the colours that the images of a class share: (GRID, GRID, 3), black or full."""
    rng = np.random.default_rng([zlib.crc32(task.encode()), len(SPLITS), label])
    return 255 * rng.integers(2, size=(GRID, GRID, 3))


def _generator(task: str, split: Split, number: int) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(task.encode()), SPLITS.index(split), number])
