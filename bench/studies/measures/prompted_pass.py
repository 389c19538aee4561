"""What the blocks of a prompted model receive: their prompts, and the patch tokens beside them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache

import timm
import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

import methods
from bench.batches import Batches
from bench.errors import UserError, unknown
from methods.prompts import HoldsPrompts
from methods.surgery import embed

Images = Iterable[tuple[Tensor, Tensor]]
"""Normalised images, (B, 3, H, W), and labels, (B,), in batches."""


def layer_inputs(model: VisionTransformer, batches: Images) -> Iterator[tuple[int, Tensor, Tensor]]:
    """(i, the prompts of block i, the patch tokens at its input): (P, D) and (B, N, D).

    Of the prompted pass, in evaluation mode and the model's own precision; the prompts as the
    block receives them, projected or masked where the method does that. For each batch, each block
    that holds prompts in turn: shallow prompts are held by block 0 alone, although they travel on.
    Blocks above the last of them are not computed. Draws no random numbers, and leaves the model
    as it was; of `bench.batches.Batches`, it reads the images in the split's own order, so that
    the order of a run's next pass is what it would have been.
    """
    held = prompted_blocks(model)
    for images in _images(batches):
        # the model is in evaluation mode only while it computes, never while the caller does
        with _evaluating(model):
            x = embed(model, images)
        for i in range(max(held, default=-1) + 1):
            if i in held:
                with _evaluating(model):
                    prompts = model.blocks[i].seen().detach()
                yield i, prompts, x[:, model.num_prefix_tokens :]
            if i < max(held):
                with _evaluating(model):
                    x = model.blocks[i](x)


def _images(batches: Images) -> Iterator[Tensor]:
    if isinstance(batches, Batches):
        yield from (images for _, images in batches.in_order())
    else:
        yield from (images for images, _ in batches)


def prompted_blocks(model: VisionTransformer) -> set[int]:
    """Which blocks hold prompts."""
    return {i for i, block in enumerate(model.blocks) if isinstance(block, HoldsPrompts)}


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
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
        raise unknown("method", method, methods.names())
    if not _prompts_blocks(method):
        raise without_prompts(measure, method)


def without_prompts(measure: str, method: str) -> UserError:
    """The error for a `measure` of prompts that is asked of a `method` without.

    It names methods with a field ``prompts``: to attach all others takes seconds.
    """
    likely = (n for n in methods.names() if hasattr(methods.create(n), "prompts"))
    have = ", ".join(name for name in likely if _prompts_blocks(name))
    return UserError(f"{measure} needs prompts; {method} has none, but these have: {have}")


@cache
def _prompts_blocks(method: str) -> bool:
    with torch.random.fork_rng(devices=[]):
        model = timm.create_model("test_vit", num_classes=2)
        try:
            methods.create(method).attach(model)
        except Exception:  # whatever keeps another's plug-in from this backbone is not asked here
            return False
    return bool(prompted_blocks(model))
