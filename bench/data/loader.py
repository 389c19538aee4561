"""The data loader: normalised batches of a split's images on a device."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from bench.data import image_cache
from bench.data.distributed import SINGLE_PROCESS, ProcessGroup
from bench.data.image_cache import CachedImages, LazyImages, PrefetchLoader
from bench.data.splits import Examples
from bench.data.transforms import Transform
from bench.utils.errors import UserError

BatchIndices = tuple[Tensor, ...]  # image indices of each batch of an epoch, (B,)
SeededIndex = tuple[int, int]  # an image's index, and the seed of its random transform


class _TransformedDataset(Dataset[Tensor]):
    """Transformed images, (3, size, size) each.

    A random transform depends on the image's key alone: not on the worker process, on the rest of
    the batch, or on other draws.
    """

    def __init__(self, source: LazyImages | CachedImages, transform: Transform, size: int):
        self._source, self._transform, self._size = source, transform, size

    def __getitem__(self, key: SeededIndex) -> Tensor:
        index, seed = key
        image = self._source[index]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return self._transform.random(image, self._size)

    def make_batch(self, keys: list[SeededIndex]) -> Tensor:
        """Stack a batch in this process: (B, 3, size, size)."""
        return torch.stack([self[key] for key in keys])


@dataclass
class BatchLoader:
    """Batches of normalised images and labels on a device; an iteration is an epoch.

    With a `shuffle_generator`, each epoch has its own order; without, the order of the split. The
    `process_group` decides which shard of each batch this process gets.
    """

    examples: Examples
    transform: Transform
    image_size: int
    batch_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    device: torch.device
    shuffle_generator: torch.Generator | None = None
    process_group: ProcessGroup = SINGLE_PROCESS

    def __post_init__(self) -> None:
        if len(self.examples) < self.process_group.world_size:
            raise UserError(
                f"{self.process_group.world_size} processes cannot share {len(self.examples)} "
                "images: at most as many processes as images was expected"
            )
        self.images_served = 0  # over all epochs so far
        self._read_images, self.note = self._image_reader()
        self._labels = self.examples.labels.to(self.device)
        self._mean, self._std = (
            torch.tensor(of_channels, device=self.device).view(-1, 1, 1) * 255
            for of_channels in (self.mean, self.std)
        )

    def __len__(self) -> int:
        return -(-len(self.examples) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order, seed = self._draw_order()
        labels = self._labels[order.to(self.device)].split(self.batch_size)
        parts = tuple(map(self.process_group.batch_shard, order.split(self.batch_size)))
        for images, of_batch in zip(self._read_normalised(parts, seed), labels, strict=True):
            yield images, self.process_group.label_shard(of_batch)  # (B, 3, H, W), (B,)

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield indices, (B,), and images of this process's block, in the order of the split.

        Draws nothing from `shuffle_generator`.
        """
        rows = self.process_group.split_shard(torch.arange(len(self.examples))).split(
            self.batch_size
        )
        yield from zip(rows, self._read_normalised(rows, 0), strict=True)

    def indices_and_labels(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield an epoch's indices, (B,), and labels without its images; draws as an epoch does."""
        for index in self._draw_order()[0].to(self.device).split(self.batch_size):
            yield (
                self.process_group.batch_shard(index),
                self.process_group.label_shard(self._labels[index]),
            )

    def forward_fn(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """Return the function from the next epoch's inputs to logits: here the whole model."""
        return model

    def _read_normalised(self, parts: BatchIndices, seed: int) -> Iterator[Tensor]:
        for pixels in self._read_images(parts, seed):
            self.images_served += len(pixels)
            yield self._normalise(pixels)  # (B, 3, H, W)

    def _draw_order(self) -> tuple[Tensor, int]:
        """Draw the order of an epoch and the seed of its random transforms."""
        count = len(self.examples)
        if self.shuffle_generator is None:
            return torch.arange(count), 0
        order = torch.randperm(count, generator=self.shuffle_generator)
        return order, int(torch.randint(2**62, (), generator=self.shuffle_generator))

    def _normalise(self, pixels: Tensor) -> Tensor:
        """Normalise a batch of values in 0..255, in place where possible."""
        wide = pixels.to(self.device, non_blocking=True).float()
        return wide.sub_(self._mean).div_(self._std)

    def _image_reader(self) -> tuple[Callable[[BatchIndices, int], Iterator[Tensor]], str]:
        """Choose how images are read: a function of an epoch's indices and seed, and a note."""
        examples, transform, size = self.examples, self.transform, self.image_size
        cache, kind = image_cache.cache_images(examples, transform, size), self.device.type
        if cache and cache.fits(self.device) and not transform.is_random:
            return partial(_select_images, cache.to(self.device).stacked()), "decoded once"
        if cache and cache.fits(self.device) and _transforms_fast(self.device):
            dataset = _TransformedDataset(cache.to(self.device), transform, size)
            return partial(_transform_batches, dataset), f"decoded once, views made on {kind}"
        source = cache or LazyImages(examples, transform, size)
        dataset = _TransformedDataset(source, transform, size)
        loader = PrefetchLoader(dataset, len(examples), pinned=kind == "cuda")
        when = "decoded once" if cache else "decoded for each pass"
        return partial(_prefetch_batches, loader), f"{when}, views made on cpu"


def _transforms_fast(device: torch.device) -> bool:
    """Return whether a device transforms images faster than worker processes do."""
    return device.type == "cuda"


def _select_images(images: Tensor, parts: BatchIndices, _: int) -> Iterator[Tensor]:
    return map(images.__getitem__, (part.to(images.device) for part in parts))


def _transform_batches(
    dataset: _TransformedDataset, parts: BatchIndices, seed: int
) -> Iterator[Tensor]:
    return map(dataset.make_batch, _seeded_indices(parts, seed))


def _prefetch_batches(loader: PrefetchLoader, parts: BatchIndices, seed: int) -> Iterator[Tensor]:
    return loader.batches(_seeded_indices(parts, seed))


def _seeded_indices(parts: BatchIndices, seed: int) -> list[list[SeededIndex]]:
    return [[(index, seed + index) for index in part.tolist()] for part in parts]
