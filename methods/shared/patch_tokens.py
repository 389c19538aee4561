"""The patch tokens at the input of each block, for all images at once and one layer at a time.

One forward pass in all, and one tensor: each block reads a batch of it and writes its outputs in
the same place.
"""

import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from math import prod
from pathlib import Path
from shutil import disk_usage

import numpy as np
import torch
from timm.models import VisionTransformer
from torch import Tensor

from methods.shared.backbone import add_positions
from methods.shared.memory import SpillWarning, free_memory

MAX_MEMORY_SHARE = 0.8  # of what is free may be taken: a block needs room of its own


@torch.no_grad()
def block_inputs(
    model: VisionTransformer,
    batches: Iterable[Tensor],
    count: int,
    last: int,
    positions: bool = True,
) -> Iterator[tuple[int, Tensor]]:
    """(i, the patch tokens at the input of block i), (B, N, D), for i = 0 ... `last`.

    `batches` are at most `count` batches of images, none larger than the first. Block L's "input",
    L being the number of blocks, is the output of the last block. Without `positions` the first
    layer's tokens come from before the position embedding. Tokens are overwritten when the next
    layer's are asked for. Where a layer does not fit into memory they lie in a file.
    """
    was_training = model.training
    model.eval()
    try:
        tokens, parts, grid = _embed_batches(model, batches, count)
        if not positions:
            yield 0, tokens
        prefixes = _first_block_inputs(model, parts, grid)
        if positions:
            yield 0, tokens
        for i, block in enumerate(model.blocks[:last], start=1):
            for prefix, part in zip(prefixes, parts, strict=True):
                _store(block(torch.cat([prefix, _to_device(model, part)], 1)), prefix, part)
            yield i, tokens
    finally:
        model.train(was_training)


def _embed_batches(
    model: VisionTransformer, batches: Iterable[Tensor], count: int
) -> tuple[Tensor, list[Tensor], torch.Size]:
    """The embedded patches, (B, N, D), the batches they consist of, and an image's patch grid."""
    place, grid = torch.empty(0), torch.Size()
    sizes: list[int] = []
    for images in batches:
        patches = model.patch_embed(images)  # (b, N, D) or (b, height, width, D)
        grid, patches = patches.shape[1:-1], patches.flatten(1, -2)
        if not sizes:
            shape = (count * len(patches), *patches.shape[1:])
            place = allocate(shape, patches.dtype, patches.device)
        start = sum(sizes)
        place[start : start + len(patches)] = patches
        sizes.append(len(patches))
    tokens = place[: sum(sizes)]
    return tokens, list(tokens.split(sizes)), grid


def _first_block_inputs(
    model: VisionTransformer, parts: Sequence[Tensor], grid: torch.Size
) -> Sequence[Tensor]:
    """Make the first block's input of the embedded patches; its prefix tokens, in batches."""
    sizes, width = [len(part) for part in parts], parts[0].shape[2]
    # one tensor: many small ones would keep the allocator from using the room around them anew
    shape = (sum(sizes), model.num_prefix_tokens, width)
    prefixes = parts[0].new_empty(shape, device=_device(model)).split(sizes)
    for prefix, part in zip(prefixes, parts, strict=True):
        _store(add_positions(model, _to_device(model, part).unflatten(1, grid)), prefix, part)
    return prefixes


def _to_device(model: VisionTransformer, part: Tensor) -> Tensor:
    """A batch of tokens where the model computes."""
    return part.to(_device(model))


def _device(model: VisionTransformer) -> torch.device:
    return next(model.parameters()).device


def _store(state: Tensor, prefix: Tensor, part: Tensor) -> None:
    """Put a state's prefix tokens, (b, P, D), and patch tokens, (b, N, D), in their places."""
    prefix.copy_(state[:, : prefix.shape[1]])
    part.copy_(state[:, prefix.shape[1] :])


def allocate(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Room for numbers: on the device, else in main memory, else in a temporary file."""
    size = prod(shape) * dtype.itemsize
    if size <= MAX_MEMORY_SHARE * free_memory(device):
        return torch.empty(shape, dtype=dtype, device=device)
    said = f"a layer's tokens take {size / 1e9:.1f} GB, too much for the memory that is free"
    if device.type != "cpu" and size <= MAX_MEMORY_SHARE * free_memory(torch.device("cpu")):
        warnings.warn(f"{said} on the device: they lie in main memory", SpillWarning, stacklevel=2)
        return torch.empty(shape, dtype=dtype)
    folder = Path(tempfile.gettempdir())
    if size > disk_usage(folder).free:
        raise MemoryError(f"{said}, and for {folder}: take a smaller share, or set TMPDIR")
    warnings.warn(
        f"{said}: they lie in a file in {folder}, which is slower", SpillWarning, stacklevel=2
    )
    with tempfile.TemporaryFile() as file:  # gone with the last tensor that reads it
        mapped = np.memmap(file, np.uint8, "w+", shape=(size,))
    return torch.from_numpy(mapped).view(dtype).view(*shape)
