"""Layerwise measures of a prompted model: prompts against patch tokens, in one pass over images."""

from collections.abc import Iterable, Iterator
from functools import cache

import timm
import torch
from torch import Tensor

import methods
from bench.data.loader import BatchLoader
from bench.models import backbones
from bench.training.measures import cka
from bench.training.measures.nmi import RunningNMI
from bench.utils.errors import UserError, unknown_name
from methods.shared.base import Model
from methods.shared.modes import eval_mode
from methods.shared.prompts import HoldsPrompts
from methods.shared.structure import (
    blocks_of,
    embed_images,
    has_tokens,
    positions_by_block,
    prefix_tokens,
)

ImageBatches = Iterable[tuple[Tensor, Tensor]]
"""Normalised images, (B, 3, H, W), and labels, (B,), in batches."""


def layer_inputs(model: Model, batches: ImageBatches) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield (i, prompts of block i, patch tokens at its input): (P, D) and (B, N, D).

    From the prompted forward pass, in evaluation mode and the model's own precision; prompts as the
    block receives them, projected or masked if the method does that. For each batch, each block
    with prompts in turn: shallow prompts are those of block 0 alone, although later blocks process
    them, too. Blocks above the last of these are not computed. Draws no random numbers and leaves
    the model as it was. A `BatchLoader` is read in the order of the split, which leaves the order
    of the next epoch unchanged.
    """
    prompted, blocks, passed = prompted_blocks(model), blocks_of(model), positions_by_block(model)
    for images in _iterate_images(batches):
        # the mode is changed only for the model's computations, never while the caller runs
        with eval_mode(model):
            x = embed_images(model, images)  # (B, N, D)
        for i in range(max(prompted, default=-1) + 1):
            if i in prompted:
                with eval_mode(model):
                    prompts = blocks[i].seen().detach()  # (P, D)
                yield i, prompts, x[:, prefix_tokens(model) :]
            if i < max(prompted):
                with eval_mode(model):
                    x = blocks[i](x, **passed[i])


def _iterate_images(batches: ImageBatches) -> Iterator[Tensor]:
    if isinstance(batches, BatchLoader):
        yield from (images for _, images in batches.in_order())
    else:
        yield from (images for images, _ in batches)


def prompted_blocks(model: Model) -> set[int]:
    """Return the indices of the blocks that hold prompts."""
    return {i for i, block in enumerate(blocks_of(model)) if isinstance(block, HoldsPrompts)}


def require_prompts(measure: str, method: str) -> None:
    """Raise `UserError` if the method registered as `method` adds no prompts to blocks.

    Attaches it to a small backbone, which is fast and leaves the random state of a run alone.
    """
    if method not in methods.names():
        raise unknown_name("method", method, methods.names())
    if not _adds_block_prompts(method):
        raise no_prompts_error(measure, method)


def require_token_sequence(measure: str, backbone: str) -> None:
    """Raise `UserError` if the blocks of the backbone called so differ in their patch tokens."""
    kind = backbones.model_class(backbone)
    if not has_tokens(kind):
        raise UserError(
            f"{measure} compares prompts with the patch tokens of every block; {backbone} is a "
            f"{kind.__name__}, which has no one sequence of them"
        )


def no_prompts_error(measure: str, method: str) -> UserError:
    """Return the error for a `measure` of prompts with a `method` without any.

    It names methods with a field ``prompts`` only: attaching all others would take seconds.
    """
    candidates = (n for n in methods.names() if hasattr(methods.create(n), "prompts"))
    prompted = ", ".join(name for name in candidates if _adds_block_prompts(name))
    return UserError(f"{measure} needs prompts; {method} has none, but these have: {prompted}")


@cache
def _adds_block_prompts(method: str) -> bool:
    with torch.random.fork_rng(devices=[]):
        model = timm.create_model("test_vit", num_classes=2)
        try:
            methods.create(method).attach(model)
        except Exception:  # a plug-in may support other backbones only, and say so by any kind
            return False
    return bool(prompted_blocks(model))


def nmi_by_layer(model: Model, method: str, batches: ImageBatches) -> dict[str, list[float]]:
    """Compute the normalised mutual information of prompts and patch tokens, one value per layer.

    ``nmi`` is the mean of the images' values, ``nmi_pooled`` the value of all their tokens at once
    (`RunningNMI`). One value for shallow prompts. Leaves the model and the random state as they
    are. Raises `UserError` for a model without prompts; `method` is the name for that message.
    """
    if not prompted_blocks(model):
        raise no_prompts_error("NMI", method)
    layers: dict[int, RunningNMI] = {}
    for i, prompts, tokens in layer_inputs(model, batches):
        layers.setdefault(i, RunningNMI(prompts)).add(tokens)
    return {
        "nmi": [layer.value() for layer in layers.values()],
        "nmi_pooled": [layer.pooled() for layer in layers.values()],
    }


def cka_by_layer(model: Model, method: str, batches: ImageBatches) -> list[list[float]]:
    """Compute the CKA of each layer's prompts (rows) with each layer's patch tokens (columns).

    The examples are the channels, their features the tokens of all images: the kernels, (D, D), are
    summed over batches, so the result is exact and no tokens are stored. Square; one number for
    shallow prompts. Otherwise as `nmi_by_layer`.
    """
    if not prompted_blocks(model):
        raise no_prompts_error("CKA", method)
    rows: dict[int, Tensor] = {}
    columns: dict[int, Tensor] = {}
    for i, prompts, tokens in layer_inputs(model, batches):
        rows.setdefault(i, cka.channel_kernel(prompts))
        kernel = cka.channel_kernel(tokens)
        columns[i] = columns[i].add_(kernel) if i in columns else kernel
    return cka.pairwise_cka(list(rows.values()), list(columns.values())).tolist()
