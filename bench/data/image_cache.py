"""The image cache: images decoded once and kept in memory, or decoded when accessed.

Worker processes decode and transform ahead, within a bounded amount of memory (prefetching).
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.data import images, splits
from bench.data.splits import ByteSpan, Examples
from bench.data.synthetic import Drawing
from bench.data.transforms import Transform
from bench.utils import parallel
from bench.utils.errors import UserError
from bench.utils.files import file_stamps
from methods.shared import memory

PREFETCH_FACTOR = 2  # batches that each worker prepares ahead
# other ways, Python 3.14's default, import torch again: 5 s and 0.8 GB a worker
WORKER_START = "fork" if sys.platform == "linux" else None
MIN_ITEMS_FOR_WORKERS = 64  # with fewer, starting processes costs more than it saves
_USER_ERROR = f"{UserError.__module__}.{UserError.__name__}: "


class PrefetchLoader:
    """Batches of a dataset from worker processes that persist between epochs.

    Each worker prepares at most `PREFETCH_FACTOR` batches ahead. `collate` makes one tensor of the
    items of a batch; without it they are stacked. `pinned` memory allows asynchronous copies to a
    GPU.
    """

    def __init__(
        self,
        dataset: Dataset[Tensor],
        items: int,
        collate: Callable[[list[Tensor]], Tensor] | None = None,
        pinned: bool = False,
    ):
        self._dataset, self._collate, self._pin_memory = dataset, collate, pinned
        self._workers = worker_count(items)
        self._idle_loader: tuple[DataLoader[Tensor], list[Any]] | None = None

    def batches(self, batch_keys: Sequence[Sequence[Any]]) -> Iterator[Tensor]:
        """Yield the batch of each sequence of keys; raises the dataset's `UserError`s."""
        loader, keys = self._idle_loader or self._start_loader()
        self._idle_loader, keys[:] = None, batch_keys  # concurrent epochs do not share workers
        try:
            yield from loader
        except UserError as error:
            # the message holds the worker's traceback; this one would keep workers alive
            del loader
            last = str(error.with_traceback(None)).splitlines()[-1]
            raise UserError(last.removeprefix(_USER_ERROR)) from None
        self._idle_loader = loader, keys

    def _start_loader(self) -> tuple["DataLoader[Tensor]", list[Any]]:
        keys: list[Any] = []
        loader = DataLoader(
            self._dataset,
            batch_sampler=keys,  # read at the start of each epoch
            num_workers=self._workers,
            multiprocessing_context=WORKER_START if self._workers else None,
            collate_fn=self._collate,
            pin_memory=self._pin_memory,
            generator=torch.Generator(),  # without one, a loader draws from the global generator
            prefetch_factor=PREFETCH_FACTOR if self._workers else None,
            persistent_workers=self._workers > 0,
        )
        return loader, keys


def worker_count(items: int) -> int:
    """Return the number of workers: none for few items, else one for each available core."""
    return min(8, parallel.available_cores()) if items >= MIN_ITEMS_FOR_WORKERS else 0


MAX_CACHE_BYTES = 4 * 2**30  # larger splits are decoded again in each epoch
FREE_MEMORY_FRACTION = 1 / 3  # of the free memory that the cache may take
CHUNK_SIZE = 32  # images that a worker process sends at a time


@dataclass(frozen=True)
class LazyImages:
    """Images that are decoded whenever they are accessed."""

    examples: Examples
    transform: Transform
    size: int

    def __getitem__(self, index: int) -> Tensor:
        """Return an image after the deterministic part of the transform, (3, H, W)."""
        pixels = self.examples.pixels
        image = splits.decode(self.examples, index) if pixels is None else pixels[index]
        return self.transform.deterministic(image, self.size)


@dataclass(frozen=True)
class CachedImages:
    """Images of any sizes, concatenated in one tensor."""

    values: Tensor  # (all values,)
    shapes: tuple[torch.Size, ...]
    offsets: tuple[int, ...]

    def __getitem__(self, index: int) -> Tensor:
        """Return a view of an image, (3, H, W)."""
        shape, start = self.shapes[index], self.offsets[index]
        return self.values[start : start + prod(shape)].view(shape)

    def stacked(self) -> Tensor:
        """Return all images, of equal size, as one tensor, (B, 3, H, W)."""
        return self.values.view(len(self.shapes), *self.shapes[0])

    def to(self, device: torch.device) -> "CachedImages":
        """Copy the cache to a device."""
        return CachedImages(self.values.to(device), self.shapes, self.offsets)

    def fits(self, device: torch.device) -> bool:
        """Return whether the cache fits on a device; on its own device it does."""
        same = device.type == self.values.device.type
        return same or self.values.nbytes <= FREE_MEMORY_FRACTION * memory.free_memory(device)


def cache_images(examples: Examples, transform: Transform, size: int) -> CachedImages | None:
    """Decode all images for a transform; return None if they do not fit in memory."""
    metas = _meta_tensors(examples, transform, size)
    if sum(meta.nbytes for meta in metas) > MAX_CACHE_BYTES:
        return None
    shapes = tuple(meta.shape for meta in metas)
    if examples.pixels is not None:
        return _pack(shapes, transform.deterministic(examples.pixels, size).flatten())
    stamps = file_stamps(examples.files)
    read = _ReadImages(examples.files, examples.spans, examples.origins, stamps, examples.drawings)
    return _decode_all(read, transform, size, shapes, metas[0].dtype)


def _meta_tensors(examples: Examples, transform: Transform, size: int) -> list[Tensor]:
    """Return meta tensors with the shape and dtype of each cached image."""
    if not transform.is_random:
        return [transform.deterministic_meta(size, size, size)] * len(examples)
    if examples.pixels is not None:
        height, width = examples.pixels.shape[-2:]
        return [transform.deterministic_meta(height, width, size)] * len(examples)
    sizes = [_read_size(examples, index) for index in range(len(examples))]
    by_size = {
        (height, width): transform.deterministic_meta(height, width, size)
        for height, width in set(sizes)
    }
    return [by_size[one] for one in sizes]


def _read_size(examples: Examples, index: int) -> tuple[int, int]:
    """Read height and width without decoding."""
    if examples.drawings:
        return examples.drawings[index].height, examples.drawings[index].width
    try:
        return images.size(splits.read_bytes(examples, index))
    except images.DECODE_ERRORS as error:
        raise splits.image_error(examples, index, f"is not an image: {error}") from None


def _pack(shapes: tuple[torch.Size, ...], values: Tensor) -> CachedImages:
    starts = (0, *accumulate(prod(shape) for shape in shapes))
    return CachedImages(values, shapes, starts[:-1])


class _FlattenedImages(Dataset[Tensor]):
    """Flattened images: a chunk concatenates to one tensor, whatever the sizes."""

    def __init__(self, source: LazyImages):
        self._source = source

    def __getitem__(self, index: int) -> Tensor:
        return self._source[index].flatten()


class _ReadImages(NamedTuple):
    """The sources of images; `stamps` are of the files: changed ones are decoded again."""

    files: tuple[Path, ...]
    spans: tuple[ByteSpan, ...]
    origins: tuple[str, ...]
    stamps: tuple[tuple[int, ...], ...]
    drawings: tuple[Drawing, ...]


# Shared by all cells of a task: prompt initialisation, training and evaluation splits.
@lru_cache(maxsize=3)
def _decode_all(
    read: _ReadImages,
    transform: Transform,
    size: int,
    shapes: tuple[torch.Size, ...],
    dtype: torch.dtype,
) -> CachedImages | None:
    """Decode images, or return None without enough memory.

    None is cached as well, so that memory taken later does not change how other cells read.
    """
    if dtype.itemsize * sum(map(prod, shapes)) > FREE_MEMORY_FRACTION * memory.free_memory(
        torch.device("cpu")
    ):
        return None
    count, parts = len(shapes), {k: v for k, v in read._asdict().items() if k != "stamps"}
    examples = Examples(torch.zeros(count), **parts)
    values, start = torch.empty(sum(map(prod, shapes)), dtype=dtype), 0
    chunks = torch.arange(count).split(CHUNK_SIZE)
    loader = PrefetchLoader(
        _FlattenedImages(LazyImages(examples, transform, size)), count, torch.cat
    )
    for part in loader.batches([chunk.tolist() for chunk in chunks]):
        values[start : start + len(part)] = part
        start += len(part)
    return _pack(shapes, values)
