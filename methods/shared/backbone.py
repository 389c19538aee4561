"""Changes to a backbone: replaced modules, changed weights, and checks that they are possible."""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from torch import Tensor, nn

from methods.shared.base import Unsupported
from methods.shared.block_layers import linear_layers, projections_in
from methods.shared.structure import (
    biases_of,
    blocks_of,
    expose_layers,
    is_pre_norm,
    pooled_features,
)

NamesOf = Callable[[nn.Module], Sequence[str]]
"""The names of some of a block's modules, such as `structure.linear_layers`."""

Layer = TypeVar("Layer", bound=nn.Module)


def replace_modules(model: nn.Module, pattern: str, build: Callable[..., nn.Module]) -> None:
    """Replace the module called `pattern` in every block by ``build(old)``.

    >>> replace_modules(model, "mlp", Halved)  # Halved(mlp) is a module that halves the output
    """
    for block in blocks_of(model):
        expose_layers(block)
        block.set_submodule(pattern, build(block.get_submodule(pattern)))


def replace_layers(model: nn.Module, layers: NamesOf, build: Callable[..., nn.Module]) -> None:
    """Replace each module in `layers` of every block by ``build(old)``.

    One layer after another, each in all blocks: the order in which random numbers are drawn.
    """
    blocks = blocks_of(model)
    for names in zip(*map(layers, blocks), strict=True):
        for block, name in zip(blocks, names, strict=True):
            expose_layers(block)
            block.set_submodule(name, build(block.get_submodule(name)))


def replace_together(
    model: nn.Module, layers: NamesOf, build: Callable[..., Iterable[nn.Module]]
) -> None:
    """Replace the modules in `layers` of every block, which belong together, by ``build(*old)``."""
    for block in blocks_of(model):
        expose_layers(block)
        names = layers(block)
        for name, new in zip(names, build(*map(block.get_submodule, names)), strict=True):
            block.set_submodule(name, new)


def replace_projections(model: nn.Module, build: Callable[[Any, str, int], nn.Module]) -> None:
    """Replace each linear layer of every block by ``build(old, name, parts)``.

    `parts` is the number of projections that a layer makes (`projections_in`). Raises `Unsupported`
    where queries, keys and values, made by one layer, are not of one width.
    """
    require_layers(model, nn.Linear, linear_layers)
    for block in blocks_of(model):
        expose_layers(block)
        for name in linear_layers(block):
            layer = block.get_submodule(name)
            parts = projections_in(block, name)
            if layer.out_features % parts:
                raise Unsupported(
                    f"this method adapts queries, keys and values of one width; {name} makes "
                    f"{layer.out_features} channels"
                )
            block.set_submodule(name, build(layer, name, parts))


def train_biases(module: nn.Module) -> None:
    """Train the biases that a module itself holds, not those of its children."""
    for bias in biases_of(module):
        if bias is not None:
            bias.requires_grad_(True)


def require_layers(model: nn.Module, kind: type[nn.Module], layers: NamesOf) -> None:
    """Raise `Unsupported` unless all `layers` of every block are of a `kind`, with weights."""
    for block in blocks_of(model):
        children = dict(block.named_modules())
        for name in layers(block):
            found = children.get(name)
            if not isinstance(found, kind) or found.weight is None:
                raise Unsupported(
                    f"this method needs a {kind.__name__} with weights as {name} in every block; "
                    f"{type(block).__name__} has {type(found).__name__ if found else 'none'}"
                )


def require_pre_norm(model: nn.Module) -> None:
    """Raise `Unsupported` unless every block is a plain pre-norm block (see `is_pre_norm`)."""
    for block in blocks_of(model):
        if not is_pre_norm(block):
            raise Unsupported(
                f"this method needs timm's plain pre-norm blocks; these are {type(block).__name__}"
            )


def with_weights(layer: Layer, weight: Tensor, bias: Tensor | None) -> Layer:
    """Copy `layer` with these weights, frozen."""
    plain = copy.deepcopy(layer)
    for name, value in (("weight", weight), ("bias", bias)):
        frozen = None if value is None else nn.Parameter(value.detach().clone(), False)
        plain.register_parameter(name, frozen)
    return plain


def require_one_feature(model: nn.Module) -> None:
    """Raise `Unsupported` for a model whose heads read features of their own."""
    count = pooled_features(model)
    if count != 1:
        raise Unsupported(
            f"this method joins something to the pooled feature; {type(model).__name__} has {count}"
        )
