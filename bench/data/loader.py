"""Images of a split become normalised batches on a device."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from bench.data import image_cache
from bench.data.distributed import SINGLE_PROCESS, ProcessGroup
from bench.data.image_cache import CachedImages, LazyImages
from bench.data.prefetch import PrefetchLoader
from bench.data.splits import Examples
from bench.data.transforms import Transform
from bench.utils.errors import UserError

BatchIndices = tuple[Tensor, ...]  # the numbers of a pass's images, (B,), batch after batch
SeededIndex = tuple[int, int]  # an image's number, and the seed of what a random view draws for it


class _TransformedDataset(Dataset[Tensor]):
    """Images through a view, (3, size, size) each.

    What a random view does to an image hangs on its key alone: not on which process looks, on what
    else is in the batch, nor on what else has drawn.
    """

    def __init__(self, source: LazyImages | CachedImages, view: Transform, size: int):
        self._source, self._transform, self._size = source, view, size

    def __getitem__(self, key: SeededIndex) -> Tensor:
        index, seed = key
        image = self._source[index]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return self._transform.random(image, self._size)

    def make_batch(self, keys: list[SeededIndex]) -> Tensor:
        """A batch, made here and now: (B, 3, size, size)."""
        return torch.stack([self[key] for key in keys])


@dataclass
class BatchLoader:
    """Normalised images and labels on a device, in batches; every pass reads them anew.

    With `order`, a seeded generator, each pass has a new order; without, the split's own. Of each
    batch, `crew` says which part is this process's.
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
                f"{self.process_group.world_size} processes cannot share {len(self.examples)} images: at most "
                "as many processes as images was expected"
            )
        self.images_served = 0  # images given out so far
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
        """Which images, (B,), and these: this process's block, in the split's own order.

        Draws nothing from `order`.
        """
        rows = self.process_group.split_shard(torch.arange(len(self.examples))).split(
            self.batch_size
        )
        yield from zip(rows, self._read_normalised(rows, 0), strict=True)

    def indices_and_labels(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Which images a pass would give, (B,), and their labels; draws what that pass would."""
        for index in self._draw_order()[0].to(self.device).split(self.batch_size):
            yield (
                self.process_group.batch_shard(index),
                self.process_group.label_shard(self._labels[index]),
            )

    def forward_fn(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """What makes scores of what the next pass gives: of images, the whole of `model`."""
        return model

    def _read_normalised(self, parts: BatchIndices, seed: int) -> Iterator[Tensor]:
        for pixels in self._read_images(parts, seed):
            self.images_served += len(pixels)
            yield self._normalise(pixels)  # (B, 3, H, W)

    def _draw_order(self) -> tuple[Tensor, int]:
        """The order of a pass, and the seed of its random views."""
        count = len(self.examples)
        if self.shuffle_generator is None:
            return torch.arange(count), 0
        order = torch.randperm(count, generator=self.shuffle_generator)
        return order, int(torch.randint(2**62, (), generator=self.shuffle_generator))

    def _normalise(self, pixels: Tensor) -> Tensor:
        """A batch of values in 0..255, which this may overwrite, as the network wants them."""
        wide = pixels.to(self.device, non_blocking=True).float()
        return wide.sub_(self._mean).div_(self._std)

    def _image_reader(self) -> tuple[Callable[[BatchIndices, int], Iterator[Tensor]], str]:
        """What gives the images of a pass, by its batches and seed; and how it does, in words."""
        kept, kind = (
            image_cache.cache_images(self.examples, self.transform, self.image_size),
            self.device.type,
        )
        if kept and kept.fits(self.device) and not self.transform.is_random:
            return partial(_select_images, kept.to(self.device).stacked()), "decoded once"
        if kept and kept.fits(self.device) and _transforms_fast(self.device):
            looks = _TransformedDataset(kept.to(self.device), self.transform, self.image_size)
            return partial(_transform_batches, looks), f"decoded once, views made on {kind}"
        looks = _TransformedDataset(
            kept or LazyImages(self.examples, self.transform, self.image_size),
            self.transform,
            self.image_size,
        )
        stream = PrefetchLoader(looks, len(self.examples), pinned=kind == "cuda")
        when = "decoded once" if kept else "decoded for each pass"
        return partial(_prefetch_batches, stream), f"{when}, views made on cpu"


def _transforms_fast(device: torch.device) -> bool:
    """Whether a device makes random views faster than worker processes do beside the training."""
    return device.type == "cuda"


def _select_images(images: Tensor, parts: BatchIndices, _: int) -> Iterator[Tensor]:
    return map(images.__getitem__, (part.to(images.device) for part in parts))


def _transform_batches(
    looks: _TransformedDataset, parts: BatchIndices, seed: int
) -> Iterator[Tensor]:
    return map(looks.make_batch, _seeded_indices(parts, seed))


def _prefetch_batches(stream: PrefetchLoader, parts: BatchIndices, seed: int) -> Iterator[Tensor]:
    return stream.batches(_seeded_indices(parts, seed))


def _seeded_indices(parts: BatchIndices, seed: int) -> list[list[SeededIndex]]:
    return [[(index, seed + index) for index in part.tolist()] for part in parts]
