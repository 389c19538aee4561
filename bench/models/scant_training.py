"""A warning for methods that find almost nothing to train in a backbone.

Some methods train existing parameters, such as biases or norms. Where a plain ViT has them in every
block and this backbone has none, the result says little about the method.
"""

from functools import cache

import timm
import torch

import methods
from bench.models import backbones, compatibility
from bench.models.backbones import Backbone
from methods import Method
from methods.shared.base import Model, Unsupported
from methods.shared.structure import blocks_of, heads_of

SHOWN_TENSORS = 3


def scant_training(backbone: Backbone, name: str, method: Method) -> str:
    """Return a sentence if `method` trains nothing in the blocks of this backbone alone, or ''."""
    if not _finds_what_it_trains(name):
        return ""
    with torch.device("meta"):
        model = backbones.build(backbone, classes=2).requires_grad_(False)
        if compatibility.try_attach(method, model):
            return ""
    found, inside = _trained_tensors(model), _block_tensors(model)
    if inside is None or inside & {id(tensor) for tensor in found.values()}:
        return ""
    shown = ", ".join(list(found)[:SHOWN_TENSORS]) + (" ..." if len(found) > SHOWN_TENSORS else "")
    what = f"only {shown}" if found else "nothing but the head"
    return f"{name} trains {what} of {backbone.card.name}, whose blocks have nothing that it finds"


@cache
def _finds_what_it_trains(name: str) -> bool:
    """Return whether the registered method adds no matrix, and trains in each block of a plain ViT.

    What adds matrices finds a place for them, or says that there is none.
    """
    with torch.device("meta"):
        model = timm.create_model("vit_tiny_patch16_224", num_classes=2, depth=2)
        own = {id(tensor) for tensor in model.requires_grad_(False).parameters()}
        if compatibility.try_attach(methods.create(name), model):
            return False
    trained = _trained_tensors(model).values()
    if any(tensor.ndim > 1 and id(tensor) not in own for tensor in trained):
        return False
    each = [{id(tensor) for tensor in block.parameters()} for block in blocks_of(model)]
    return all(tensors & {id(tensor) for tensor in trained} for tensors in each)


def _trained_tensors(model: Model) -> dict[str, torch.nn.Parameter]:
    """Return the trainable parameters outside of the heads, by name."""
    head = {id(tensor) for tensor in heads_of(model).parameters()}
    named = model.named_parameters()
    return {name: p for name, p in named if p.requires_grad and id(p) not in head}


def _block_tensors(model: Model) -> set[int] | None:
    """Return the parameters of the blocks; None for a model whose blocks are not known."""
    try:
        return {id(tensor) for block in blocks_of(model) for tensor in block.parameters()}
    except Unsupported:
        return None
