"""Merging of adapters into the backbone's own weights, where the mathematics allows it.

A module of this package, or of a plug-in, that can be merged has a method ``merged()``, which
returns an equivalent plain module. peft's layers are merged by their own ``merge``.
"""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.shared.base import Unsupported
from methods.shared.image_input import image_size
from methods.shared.modes import eval_mode

BACKBONE_PACKAGES = ("torch", "timm")  # a backbone's modules come from these; all others were added
# Of the largest logit: float32 has 7 digits, of which deep networks lose about 3.
RELATIVE_TOLERANCE = 1e-3


@torch.no_grad()
def merge_adapters(model: VisionTransformer) -> None:
    """Replace every adapted module of `model` by an equivalent plain one.

    Raises `Unsupported`, and leaves the model unchanged, if an added module cannot be merged or the
    merged model's logits differ.
    """
    adapted = dict(_adapted_modules(model))
    stuck = sorted(
        {type(module).__name__ for module in adapted.values() if not _is_mergeable(module)}
    )
    if stuck:
        raise Unsupported(f"{' and '.join(stuck)} cannot be merged into the backbone's weights")
    plain = {name: _merged_module(module) for name, module in adapted.items()}
    before = logits_on_noise(model)
    _set_modules(model, plain)
    apart, most = (logits_on_noise(model) - before).abs().max(), before.abs().max()
    if not apart <= RELATIVE_TOLERANCE * most:
        _set_modules(model, adapted)
        raise Unsupported(
            f"the merged model gives other logits, by {apart:.3g} with logits up to {most:.3g}"
        )


def _set_modules(model: VisionTransformer, modules: dict[str, nn.Module]) -> None:
    for name, module in modules.items():
        model.set_submodule(name, module)


def logits_on_noise(model: Any) -> Tensor:
    """Compute the logits of two images of noise in evaluation mode, (2, C)."""
    noise = torch.randn(2, 3, *image_size(model), generator=torch.Generator().manual_seed(0))
    with eval_mode(model):
        scores: Tensor = model(noise.to(next(model.parameters())))
    return scores


def _adapted_modules(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the outermost modules below `module` that a method added, with their names."""
    for name, child in module.named_children():
        if _is_added(child):
            yield f"{path}{name}", child
        else:
            yield from _adapted_modules(child, f"{path}{name}.")


def _is_added(module: nn.Module) -> bool:
    return type(module).__module__.split(".")[0] not in BACKBONE_PACKAGES


def _is_mergeable(module: nn.Module) -> bool:
    return _has_merged(module) or _is_peft_layer(module)


def _has_merged(module: nn.Module) -> bool:
    """Return whether it has the method ``merged``; in peft's layers that is a flag."""
    return callable(getattr(module, "merged", None))


def _is_peft_layer(module: nn.Module) -> bool:
    return hasattr(module, "get_base_layer") and hasattr(module, "merge")


def _merged_module(module: nn.Module) -> nn.Module:
    """Return the plain module equivalent to an adapted one, which is left unchanged."""
    twin: Any = copy.deepcopy(module)  # peft merges in place
    if _has_merged(twin):
        return twin.merged()
    try:
        twin.merge(safe_merge=True)
    except Exception as error:  # peft raises many kinds
        raise Unsupported(f"peft cannot merge its {type(module).__name__}: {error}") from None
    return twin.get_base_layer()
