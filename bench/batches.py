"""Images of a split become normalised batches on a device."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from bench import decoding
from bench.data import Examples
from bench.decoding import Anew, Kept
from bench.streams import Stream
from bench.views import View

Key = tuple[int, int]  # an image's number, and the seed of what a random view draws for it


class _Looks(Dataset[Tensor]):
    """Images through a view, (3, size, size) each.

    What a random view does to an image hangs on its key alone: not on which process looks, on what
    else is in the batch, nor on what else has drawn.
    """

    def __init__(self, source: Anew | Kept, view: View, size: int):
        self._source, self._view, self._size = source, view, size

    def __getitem__(self, key: Key) -> Tensor:
        index, seed = key
        image = self._source[index]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return self._view.drawn(image, self._size)

    def together(self, keys: list[Key]) -> Tensor:
        """A batch, made here and now: (B, 3, size, size)."""
        return torch.stack([self[key] for key in keys])


@dataclass
class Batches:
    """Normalised images and labels on a device, in batches; every pass reads them anew.

    With `order`, a seeded generator, each pass has a new order; without, the split's own.
    """

    examples: Examples
    view: View
    size: int
    batch: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    device: torch.device
    order: torch.Generator | None = None

    def __post_init__(self) -> None:
        self.passed = 0  # images given out so far
        self._images, self.note = self._at_hand()
        self._labels = self.examples.labels.to(self.device)
        self._mean, self._std = (
            torch.tensor(of_channels, device=self.device).view(-1, 1, 1) * 255
            for of_channels in (self.mean, self.std)
        )

    def __len__(self) -> int:
        return -(-len(self.examples) // self.batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from self._given(*self._drawn())

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """A pass in the split's own order, which draws nothing from `order`."""
        yield from self._given(torch.arange(len(self.examples)), 0)

    def rows(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Which images a pass would give, (B,), and their labels; draws what that pass would."""
        for index in self._drawn()[0].to(self.device).split(self.batch):
            yield index, self._labels[index]

    def reader(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """What makes scores of what the next pass gives: of images, the whole of `model`."""
        return model

    def _given(self, order: Tensor, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        indices = order.to(self.device).split(self.batch)
        for index, pixels in zip(indices, self._images(order, seed), strict=True):
            self.passed += len(index)
            yield self._normalised(pixels), self._labels[index]  # (B, 3, H, W), (B,)

    def _drawn(self) -> tuple[Tensor, int]:
        """The order of a pass, and the seed of its random views."""
        count = len(self.examples)
        if self.order is None:
            return torch.arange(count), 0
        order = torch.randperm(count, generator=self.order)
        return order, int(torch.randint(2**62, (), generator=self.order))

    def _normalised(self, pixels: Tensor) -> Tensor:
        """A batch of values in 0..255, which this may overwrite, as the network wants them."""
        wide = pixels.to(self.device, non_blocking=True).float()
        return wide.sub_(self._mean).div_(self._std)

    def _at_hand(self) -> tuple[Callable[[Tensor, int], Iterator[Tensor]], str]:
        """What gives the images of a pass, by its order and seed; and how it does, in words."""
        kept, kind = decoding.kept(self.examples, self.view, self.size), self.device.type
        if kept and kept.fits(self.device) and not self.view.is_random:
            return partial(_chosen, kept.to(self.device).whole(), self.batch), "decoded once"
        if kept and kept.fits(self.device) and _looks_fast(self.device):
            looks = _Looks(kept.to(self.device), self.view, self.size)
            return partial(_looked_at, looks, self.batch), f"decoded once, views made on {kind}"
        looks = _Looks(kept or Anew(self.examples, self.view, self.size), self.view, self.size)
        stream = Stream(looks, len(self.examples), pinned=kind == "cuda")
        when = "decoded once" if kept else "decoded for each pass"
        return partial(_streamed, stream, self.batch), f"{when}, views made on cpu"


def _looks_fast(device: torch.device) -> bool:
    """Whether a device makes random views faster than worker processes do beside the training."""
    return device.type == "cuda"


def _chosen(images: Tensor, batch: int, order: Tensor, _: int) -> Iterator[Tensor]:
    return map(images.__getitem__, order.to(images.device).split(batch))


def _looked_at(looks: _Looks, batch: int, order: Tensor, seed: int) -> Iterator[Tensor]:
    return map(looks.together, _keys(order, batch, seed))


def _streamed(stream: Stream, batch: int, order: Tensor, seed: int) -> Iterator[Tensor]:
    return stream.batches(_keys(order, batch, seed))


def _keys(order: Tensor, batch: int, seed: int) -> list[list[Key]]:
    return [[(index, seed + index) for index in part.tolist()] for part in order.split(batch)]
