"""What each start of self-prompts takes beside the one forward pass that it needs.

The bare pass and every strategy take turns, round by round, on the same images in one process; a
ratio is of the least times over the rounds: a pass takes most of a minute on a CPU, and what else
the machine does can only add to it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import timm
import torch
import torch.nn.functional as F
from timm.models import VisionTransformer
from torch import Tensor

import methods
from bench.performance import measurement
from bench.performance.measurement import PerformanceRow
from bench.training import devices
from methods import Method
from methods.shared.backbone import embed_images

METHODS = {  # by strategy
    "random": "spt_deep",
    "mean": "spt_deep_mean",
    "max": "spt_deep_max",
    "kmeans": "spt_deep_kmeans",
}
PUBLISHED_TIMES = {
    "random": "43.6 s",
    "mean": "42.6 s",
    "max": "64.9 s",
    "kmeans": "27.3 d",
}  # at `CUB`
CUB_IMAGES = 5394  # training images of CUB-200, validation included
DEFAULT_BAR, BARS = 1.10, {"kmeans": 1.6}  # what a strategy may take of the bare pass


@dataclass(frozen=True)
class SyntheticBatches:
    """Synthetic images on a device in batches, as a method is shown them; made once."""

    images: Tensor  # (B, 3, H, W)
    batch: int

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for part in self.images.split(self.batch):
            yield part, torch.zeros(len(part))


def measure_initialisation(
    network: str, count: int, batch: int, prompts: int, rounds: int, device: torch.device
) -> Iterator[PerformanceRow]:
    """Every strategy of deep prompts on a network of random weights and `count` images."""
    torch.manual_seed(0)
    bare = timm.create_model(network, num_classes=10, device=device).eval()
    shown = SyntheticBatches(smooth_noise(count, bare.patch_embed.img_size[0], device), batch)
    starts = {k: methods.create(v, prompts=prompts, share=1.0) for k, v in METHODS.items()}
    taken: dict[str, list[float]] = {name: [] for name in ("bare", *starts)}
    time_forward(
        bare, SyntheticBatches(shown.images[:batch], batch)
    )  # what is set up once is not counted
    for _ in range(rounds):
        taken["bare"].append(time_forward(bare, shown))
        for name, method in starts.items():
            taken[name].append(time_prepare(bare, method, shown))
    few = SyntheticBatches(shown.images[: max(batch, count // 8)], batch)
    for name, method in starts.items():
        row = _row(name, network, taken[name], taken["bare"], count)
        yield measurement.with_profile(row, partial(time_prepare, bare, method, few), device.type)


def smooth_noise(count: int, side: int, device: torch.device) -> Tensor:
    """Noise with the broad patches of photographs, (count, 3, side, side)."""
    noise = torch.randn(count, 3, side // 8, side // 8, device=device)
    return F.interpolate(noise, side, mode="bilinear")


@torch.no_grad()
def time_forward(model: VisionTransformer, shown: SyntheticBatches) -> float:
    """Seconds of a pass up to the input of the last block, which is all that deep prompts see."""
    start = _synchronised_time(shown)
    for images, _ in shown:
        state = embed_images(model, images)
        for block in model.blocks[:-1]:
            state = block(state)
    return _synchronised_time(shown) - start


def time_prepare(model: VisionTransformer, method: Method, shown: SyntheticBatches) -> float:
    """Seconds that a method's `prepare` takes; the model is left as it was."""
    blocks, start = list(model.blocks), _synchronised_time(shown)
    method.prepare(model, shown)
    seconds = _synchronised_time(shown) - start
    for i, block in enumerate(blocks):
        model.blocks[i] = block
    return seconds


def _synchronised_time(shown: SyntheticBatches) -> float:
    devices.synchronise(shown.images.device)
    return perf_counter()


def _row(
    name: str, network: str, seconds: list[float], bare: list[float], count: int
) -> PerformanceRow:
    least = min(seconds)
    said = f"{name} prompts to the bare pass: {network}, {count} images"
    note = f"{least:.3g} s; the paper {PUBLISHED_TIMES[name]}" if count == CUB_IMAGES else ""
    return PerformanceRow(
        said, least / min(bare), least, len(seconds), BARS.get(name, DEFAULT_BAR), note=note
    )
