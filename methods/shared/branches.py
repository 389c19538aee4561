"""The outputs that adapters add to frozen layers, for other methods to act on.

An adapter with an output of its own names the module that computes it, ``branch = "update"``. For
any other adapter of a linear layer, it is the difference from the layer's own output.
"""

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from methods.shared.base import Unsupported
from methods.shared.structure import blocks_of

HOLDS = ("linear", "layer", "base_layer")  # names under which adapters hold their frozen layer


def replace_branches(
    model: nn.Module,
    branch: Callable[[nn.Module, int], nn.Module],
    layer: Callable[[nn.Module, nn.Linear, int], nn.Module],
) -> None:
    """Replace every branch by ``branch(old, block)``, with the block's number, from 0.

    An adapted linear layer without a branch is replaced by ``layer(old, frozen, block)``. Raises
    `Unsupported` unless there is an adapter in every block.
    """
    for index, block in enumerate(blocks_of(model)):
        adapters = list(_outermost_adapters(block))
        if not adapters:
            raise Unsupported(
                "this method acts on what adapters add to a frozen layer's output, and "
                f"{type(block).__name__} has no such adapter"
            )
        for name, adapter in adapters:
            own = getattr(adapter, "branch", None)
            if isinstance(own, str):
                setattr(adapter, own, branch(getattr(adapter, own), index))
            else:
                frozen = frozen_layer(adapter)
                assert frozen is not None
                block.set_submodule(name, layer(adapter, frozen, index))


def frozen_layer(adapter: nn.Module) -> nn.Linear | None:
    """Return the linear layer that an adapter holds, maybe within another adapter."""
    held: Any = next((one for name in HOLDS if (one := getattr(adapter, name, None))), None)
    if type(held) is nn.Linear:
        return held
    return frozen_layer(held) if isinstance(held, nn.Module) else None


def _outermost_adapters(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the adapters below a module, or the module itself, with their names.

    Within one with a branch there may be others; within one of a layer there is its own frozen
    layer alone.
    """
    branched = isinstance(getattr(module, "branch", None), str)
    if branched or frozen_layer(module) is not None:
        yield name, module
    if branched or frozen_layer(module) is None:
        for child, inner in module.named_children():
            if not branched or child != module.branch:
                yield from _outermost_adapters(inner, f"{name}.{child}".lstrip("."))
