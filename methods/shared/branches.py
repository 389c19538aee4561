"""Branches: the modules of an adapter whose output is added to that of a frozen layer.

A module that a method puts in the place of a layer names its branch, ``branch = "update"``; then
other methods can act on the adapter's own output.
"""

from collections.abc import Callable

from torch import nn

from methods.shared.base import Unsupported
from methods.shared.structure import blocks_of


def replace_branches(model: nn.Module, build: Callable[[nn.Module, int], nn.Module]) -> None:
    """Replace every branch by ``build(branch, block)``, the block counted from 0.

    Raises `Unsupported` unless there is a branch in every block.
    """
    for index, block in enumerate(blocks_of(model)):
        holders = [module for module in block.modules() if isinstance(_branch_name(module), str)]
        if not holders:
            raise Unsupported(
                "this method acts on what adapters add to a frozen layer's output, and "
                f"{type(block).__name__} has no such adapter"
            )
        for holder in holders:
            name = _branch_name(holder)
            setattr(holder, name, build(getattr(holder, name), index))


def _branch_name(module: nn.Module) -> str:
    return getattr(module, "branch", None)  # type: ignore[return-value]
