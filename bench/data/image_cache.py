"""The images of a split as a view starts from them: decoded once and kept, or anew when asked."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from math import prod
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from bench.data import images, splits
from bench.data.prefetch import PrefetchLoader
from bench.data.splits import ByteSpan, Examples
from bench.data.transforms import Transform
from bench.utils.files import file_stamps
from methods.shared import memory

MAX_CACHE_BYTES = (
    4 * 2**30
)  # bytes of decoded images above which a split is read anew for each pass
FREE_MEMORY_FRACTION = 1 / 3  # of the free memory: they may take no more than that either
CHUNK_SIZE = 32  # images that a worker process hands over at once


@dataclass(frozen=True)
class LazyImages:
    """Images that are decoded whenever they are asked for."""

    examples: Examples
    transform: Transform
    size: int

    def __getitem__(self, index: int) -> Tensor:
        """One image as the view starts from it, (3, H, W)."""
        pixels = self.examples.pixels
        image = splits.decode(self.examples, index) if pixels is None else pixels[index]
        return self.transform.deterministic(image, self.size)


@dataclass(frozen=True)
class CachedImages:
    """Images of any sizes, one behind the other in one tensor."""

    values: Tensor  # (all values,)
    shapes: tuple[torch.Size, ...]
    offsets: tuple[int, ...]

    def __getitem__(self, index: int) -> Tensor:
        """One image, (3, H, W), which shares the memory."""
        shape, start = self.shapes[index], self.offsets[index]
        return self.values[start : start + prod(shape)].view(shape)

    def stacked(self) -> Tensor:
        """All of them where their sizes are alike, (B, 3, H, W)."""
        return self.values.view(len(self.shapes), *self.shapes[0])

    def to(self, device: torch.device) -> "CachedImages":
        """The same on a device."""
        return CachedImages(self.values.to(device), self.shapes, self.offsets)

    def fits(self, device: torch.device) -> bool:
        """Whether there is room for them on a device; where they lie, there is."""
        there = device.type == self.values.device.type
        return there or self.values.nbytes <= FREE_MEMORY_FRACTION * memory.free_memory(device)


def cache_images(examples: Examples, view: Transform, size: int) -> CachedImages | None:
    """All the images as `view` starts from them, decoded once; None where there is no room."""
    forms = _meta_tensors(examples, view, size)
    if sum(form.nbytes for form in forms) > MAX_CACHE_BYTES:
        return None
    shapes = tuple(form.shape for form in forms)
    if examples.pixels is not None:
        return _pack(shapes, view.deterministic(examples.pixels, size).flatten())
    whence = examples.files, examples.spans, examples.origins, file_stamps(examples.files)
    return _decode_all(*whence, view, size, shapes, forms[0].dtype)


def _meta_tensors(examples: Examples, view: Transform, size: int) -> list[Tensor]:
    """What of each image is kept: tensors with shapes and types, and no values."""
    if not view.is_random:
        return [view.deterministic_meta(size, size, size)] * len(examples)
    if examples.pixels is not None:
        height, width = examples.pixels.shape[-2:]
        return [view.deterministic_meta(height, width, size)] * len(examples)
    sizes = [_read_size(examples, index) for index in range(len(examples))]
    by_size = {
        (height, width): view.deterministic_meta(height, width, size)
        for height, width in set(sizes)
    }
    return [by_size[one] for one in sizes]


def _read_size(examples: Examples, index: int) -> tuple[int, int]:
    """Height and width, read without decoding."""
    try:
        return images.size(splits.read_bytes(examples, index))
    except images.DECODE_ERRORS as error:
        raise splits.image_error(examples, index, f"is not an image: {error}") from None


def _pack(shapes: tuple[torch.Size, ...], values: Tensor) -> CachedImages:
    starts = (0, *accumulate(prod(shape) for shape in shapes))
    return CachedImages(values, shapes, starts[:-1])


class _FlattenedImages(Dataset[Tensor]):
    """Each image as a row of values: those of a chunk make one tensor, whatever their sizes."""

    def __init__(self, source: LazyImages):
        self._source = source

    def __getitem__(self, index: int) -> Tensor:
        return self._source[index].flatten()


# of the task at hand, shared by its cells: what prompts start from, what is learnt, what is scored
@lru_cache(maxsize=3)
def _decode_all(
    files: tuple[Path, ...],
    spans: tuple[ByteSpan, ...],
    origins: tuple[str, ...],
    stamps: tuple[tuple[int, ...], ...],
    view: Transform,
    size: int,
    shapes: tuple[torch.Size, ...],
    dtype: torch.dtype,
) -> CachedImages | None:
    """`None` is kept as well: what others hold by then changes no later cell's way of reading.

    With other `stamps`, the files have changed since, and are decoded anew.
    """
    if dtype.itemsize * sum(map(prod, shapes)) > FREE_MEMORY_FRACTION * memory.free_memory(
        torch.device("cpu")
    ):
        return None
    examples = Examples(torch.zeros(len(files)), files=files, spans=spans, origins=origins)
    values, at = torch.empty(sum(map(prod, shapes)), dtype=dtype), 0
    chunks = torch.arange(len(files)).split(CHUNK_SIZE)
    stream = PrefetchLoader(
        _FlattenedImages(LazyImages(examples, view, size)), len(files), torch.cat
    )
    for part in stream.batches([chunk.tolist() for chunk in chunks]):
        values[at : at + len(part)] = part
        at += len(part)
    return _pack(shapes, values)
