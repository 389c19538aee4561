"""Images of a split become normalised batches on a device."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from bench.data import Examples, Span, opened
from bench.errors import UserError
from bench.views import View

IN_MEMORY = 4 * 2**30  # bytes of decoded pixels above which a split is read anew for each pass
_USER_ERROR = f"{UserError.__module__}.{UserError.__name__}: "


class _Decoded(Dataset[Tensor]):
    """The images of `examples` through a view, (3, size, size) each.

    What a random view does to an image hangs on `seed` and the image alone: not on which worker
    process decodes it, nor on what else has drawn.
    """

    def __init__(self, examples: Examples, view: View, size: int, seed: int = 0):
        self.examples, self.view, self.size, self.seed = examples, view, size, seed

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Tensor:
        pixels = self.examples.pixels
        image = opened(self.examples, index) if pixels is None else pixels[index]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed + index)
            return self.view(image, self.size)


def _stream(decoded: _Decoded, chosen: tuple[Tensor, ...]) -> Iterator[Tensor]:
    """The images of each index of `chosen`, (B, 3, size, size), decoded by worker processes."""
    sampler = [index.tolist() for index in chosen]
    workers = _workers(len(decoded))
    own = torch.Generator()  # without one, a loader draws from torch's global generator
    try:
        yield from DataLoader(decoded, batch_sampler=sampler, num_workers=workers, generator=own)
    except UserError as error:
        # a worker's error tells its traceback; its own would keep the workers waiting for seconds
        last = str(error.with_traceback(None)).splitlines()[-1]
        raise UserError(last.removeprefix(_USER_ERROR)) from None


def _workers(images: int) -> int:
    """How many processes decode: none for a few images, else one a core that is ours to use."""
    ours = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    cores = len(ours(0)) if ours else os.cpu_count() or 1
    return min(8, cores) if images >= 64 else 0


@lru_cache(maxsize=2)  # the training and test images of the task at hand, shared by its cells
def _decoded(
    files: tuple[Path, ...],
    spans: tuple[Span, ...],
    origins: tuple[str, ...],
    view: View,
    size: int,
) -> Tensor:
    """All the images, (B, 3, size, size)."""
    examples = Examples(torch.zeros(len(files)), files=files, spans=spans, origins=origins)
    whole = torch.arange(len(files)).split(256)
    return torch.cat(list(_stream(_Decoded(examples, view, size), whole)))


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
        self._pixels = self._in_memory()
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
        if self._pixels is None:
            images = self._stream(order.split(self.batch), seed)
        else:
            images = map(self._pixels.__getitem__, indices)
        for index, pixels in zip(indices, images, strict=True):
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

    def _stream(self, chosen: tuple[Tensor, ...], seed: int) -> Iterator[Tensor]:
        return _stream(_Decoded(self.examples, self.view, self.size, seed), chosen)

    def _in_memory(self) -> Tensor | None:
        """All pixels on the device, (B, 3, size, size), where they fit and no pass changes them."""
        if self.examples.pixels is not None and not self.view.is_random:
            return self.view(self.examples.pixels, self.size).to(self.device)
        bytes_needed = len(self.examples) * 3 * self.size**2 * self.view.bytes_a_value
        if self.view.is_random or bytes_needed > IN_MEMORY:
            return None
        examples = self.examples
        pixels = _decoded(examples.files, examples.spans, examples.origins, self.view, self.size)
        return pixels.to(self.device)
