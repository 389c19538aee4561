"""What the blocks of a prompted model receive: their prompts, and the patch tokens beside them."""

# MERGED bench.training.measures.layerwise: """Measures of all layers of a prompted model, from one pass over images."""
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache

import timm
import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

import methods
from bench.data.loader import BatchLoader
from bench.training.measures import cka
from bench.training.measures.nmi import RunningNMI
from bench.utils.errors import UserError, unknown_name
from methods.shared.backbone import embed_images
from methods.shared.prompts import HoldsPrompts

ImageBatches = Iterable[tuple[Tensor, Tensor]]
"""Normalised images, (B, 3, H, W), and labels, (B,), in batches."""


def layer_inputs(
    model: VisionTransformer, batches: ImageBatches
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """(i, the prompts of block i, the patch tokens at its input): (P, D) and (B, N, D).

    Of the prompted pass, in evaluation mode and the model's own precision; the prompts as the
    block receives them, projected or masked where the method does that. For each batch, each block
    that holds prompts in turn: shallow prompts are held by block 0 alone, although they travel on.
    Blocks above the last of them are not computed. Draws no random numbers, and leaves the model
    as it was; of `bench.data.loader.BatchLoader`, it reads the images in the split's own order, so that
    the order of a run's next pass is what it would have been.
    """
    held = prompted_blocks(model)
    for images in _iterate_images(batches):
        # the model is in evaluation mode only while it computes, never while the caller does
        with _eval_mode(model):
            x = embed_images(model, images)
        for i in range(max(held, default=-1) + 1):
            if i in held:
                with _eval_mode(model):
                    prompts = model.blocks[i].seen().detach()
                yield i, prompts, x[:, model.num_prefix_tokens :]
            if i < max(held):
                with _eval_mode(model):
                    x = model.blocks[i](x)


def _iterate_images(batches: ImageBatches) -> Iterator[Tensor]:
    if isinstance(batches, BatchLoader):
        yield from (images for _, images in batches.in_order())
    else:
        yield from (images for images, _ in batches)


def prompted_blocks(model: VisionTransformer) -> set[int]:
    """Which blocks hold prompts."""
    return {i for i, block in enumerate(model.blocks) if isinstance(block, HoldsPrompts)}


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; each module gets back the mode that it had."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def require_prompts(measure: str, method: str) -> None:
    """Raise `UserError` where the method registered as `method` gives no block prompts.

    Attaches it to a small backbone: quick, and without touching the random numbers of a run.
    """
    if method not in methods.names():
        raise unknown_name("method", method, methods.names())
    if not _adds_block_prompts(method):
        raise no_prompts_error(measure, method)


def no_prompts_error(measure: str, method: str) -> UserError:
    """The error for a `measure` of prompts that is asked of a `method` without.

    It names methods with a field ``prompts``: to attach all others takes seconds.
    """
    likely = (n for n in methods.names() if hasattr(methods.create(n), "prompts"))
    have = ", ".join(name for name in likely if _adds_block_prompts(name))
    return UserError(f"{measure} needs prompts; {method} has none, but these have: {have}")


@cache
def _adds_block_prompts(method: str) -> bool:
    with torch.random.fork_rng(devices=[]):
        model = timm.create_model("test_vit", num_classes=2)
        try:
            methods.create(method).attach(model)
        except Exception:  # whatever keeps another's plug-in from this backbone is not asked here
            return False
    return bool(prompted_blocks(model))


def nmi_by_layer(
    model: VisionTransformer, method: str, batches: ImageBatches
) -> dict[str, list[float]]:
    """Normalised mutual information of prompts and patch tokens, a value a layer.

    ``nmi`` is the mean of the images' values, ``nmi_pooled`` that of all their tokens at once
    (`MutualInformation`). One value where prompts are shallow. Leaves the model and all random
    numbers as they are. Raises `UserError` for a model without prompts; `method`, by which it was
    prepared, is for that message.
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


def cka_by_layer(
    model: VisionTransformer, method: str, batches: ImageBatches, estimator: str = "unbiased"
) -> list[list[float]]:
    """CKA of each layer's prompts, a row each, with each layer's patch tokens, a column each.

    The examples are the channels and the tokens of all images their features: kernels, (D, D), add
    up over batches, so this is exact and never holds the tokens. Square; one number where prompts
    are shallow. Otherwise as `nmi_by_layer`; raises `UserError` for an unknown `estimator`, too.
    """
    cka.get_estimator(estimator)  # a typo is told before the pass
    if not prompted_blocks(model):
        raise no_prompts_error("CKA", method)
    rows: dict[int, Tensor] = {}
    columns: dict[int, Tensor] = {}
    for i, prompts, tokens in layer_inputs(model, batches):
        rows.setdefault(i, cka.channel_kernel(prompts))
        kernel = cka.channel_kernel(tokens)
        columns[i] = columns[i].add_(kernel) if i in columns else kernel
    found = cka.pairwise_cka(list(rows.values()), list(columns.values()), estimator)
    return [[float(value) for value in row] for row in found]
