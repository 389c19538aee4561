"""Folding what a method added into the backbone's own weights, where the mathematics allows.

An adapted module of this package that can be folded offers ``merged()``: a plain module that
computes the same. peft's layers fold by their own ``merge``.
"""

from collections.abc import Iterator
from typing import Any

import torch
from timm.models import VisionTransformer
from torch import nn

from methods.base import Unsupported


@torch.no_grad()
def merge(model: VisionTransformer) -> None:
    """Replace every adapted module of `model` by the plain one that computes the same.

    Raises `Unsupported`, before anything is changed, where something added cannot be folded.
    """
    adapted = dict(_adapted(model))
    stuck = sorted({type(module).__name__ for module in adapted.values() if not _folds(module)})
    if stuck:
        raise Unsupported(f"{' and '.join(stuck)} cannot be folded into the backbone's weights")
    for name, module in adapted.items():
        model.set_submodule(name, _plain(module))


def _adapted(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The outermost modules below `module` that a method put there, by name."""
    for name, child in module.named_children():
        if _is_added(child):
            yield f"{path}{name}", child
        else:
            yield from _adapted(child, f"{path}{name}.")


def _is_added(module: nn.Module) -> bool:
    return type(module).__module__.split(".")[0] in ("methods", "peft")


def _folds(module: nn.Module) -> bool:
    return hasattr(module, "merged") or _is_peft(module)


def _is_peft(module: nn.Module) -> bool:
    return hasattr(module, "get_base_layer") and hasattr(module, "merge")


def _plain(module: Any) -> nn.Module:
    if hasattr(module, "merged"):
        return module.merged()
    module.merge(safe_merge=True)
    return module.get_base_layer()
