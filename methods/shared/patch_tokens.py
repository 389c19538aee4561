"""Patch tokens at the input of each block: all images at once, one layer at a time.

Takes a single forward pass and a single tensor: each block reads a batch of it and overwrites it
with its output.
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

from methods.shared.memory import SpillWarning, free_memory
from methods.shared.modes import in_mode
from methods.shared.structure import (
    add_positions,
    blocks_of,
    positions_by_block,
    prefix_tokens,
    require_tokens,
)

MAX_MEMORY_SHARE = 0.8  # of the free memory; blocks need some for their activations


@torch.no_grad()
def block_inputs(
    model: VisionTransformer,
    batches: Iterable[Tensor],
    count: int,
    last: int,
    positions: bool = True,
) -> Iterator[tuple[int, Tensor]]:
    """Yield (i, patch tokens at the input of block i, (B, N, D)) for i = 0 ... `last`.

    `batches` are at most `count` batches of images, none larger than the first. The "input" of
    block L, L being the number of blocks, is the output of the last block. Without `positions` the
    tokens of block 0 are taken before the position embedding. The next iteration overwrites the
    tokens. A layer that does not fit into memory is kept in a file.
    """
    require_tokens(model)
    with in_mode(model, training=False):
        tokens, parts, grid = _embed_batches(model, batches, count)
        if not positions:
            yield 0, tokens
        prefixes = _first_block_inputs(model, parts, grid)
        if positions:
            yield 0, tokens
        blocks, passed = blocks_of(model), positions_by_block(model)
        for i in range(last):
            for prefix, part in zip(prefixes, parts, strict=True):
                x = torch.cat([prefix, _to_device(model, part)], 1)  # (b, P + N, D)
                _store(blocks[i](x, **passed[i]), prefix, part)
            yield i + 1, tokens


def _embed_batches(
    model: VisionTransformer, batches: Iterable[Tensor], count: int
) -> tuple[Tensor, list[Tensor], torch.Size]:
    """Embed all images: patches, (B, N, D), the same split into batches, and the patch grid."""
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
    """Turn patches into the first block's input, in place; return its prefix tokens in batches."""
    sizes, width = [len(part) for part in parts], parts[0].shape[2]
    # one tensor: many small ones would fragment the allocator's memory
    shape = (sum(sizes), prefix_tokens(model), width)
    prefixes = parts[0].new_empty(shape, device=_device(model)).split(sizes)
    for prefix, part in zip(prefixes, parts, strict=True):
        _store(add_positions(model, _to_device(model, part).unflatten(1, grid)), prefix, part)
    return prefixes


def _to_device(model: VisionTransformer, part: Tensor) -> Tensor:
    """Move a batch of tokens to the model's device."""
    return part.to(_device(model))


def _device(model: VisionTransformer) -> torch.device:
    return next(model.parameters()).device


def _store(state: Tensor, prefix: Tensor, part: Tensor) -> None:
    """Copy a block's output into `prefix`, (b, P, D), and `part`, (b, N, D)."""
    prefix.copy_(state[:, : prefix.shape[1]])
    part.copy_(state[:, prefix.shape[1] :])


def allocate(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Allocate a tensor on the device, else in main memory, else in a temporary file."""
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
    with tempfile.TemporaryFile() as file:  # deleted together with the last tensor that maps it
        mapped = np.memmap(file, np.uint8, "w+", shape=(size,))
    return torch.from_numpy(mapped).view(dtype).view(*shape)
