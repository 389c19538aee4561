"""Updates that are linear in a scale: where a model has them, and models with scaled updates.

A module declares ``linear_in_scale = True`` if its update of a frozen output is a function of its
parameters multiplied by `scale`, a number. An update that passes through another module's scale
declares it without a `scale` of its own. In peft, LoRA layers are linear, except with DoRA, which
normalises the sum of weight and update.
"""

from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any, NamedTuple

import torch
from torch import nn

from methods.shared.base import Model, Unsupported
from methods.shared.merge import logits_on_noise
from methods.shared.structure import heads_of

PEFT_LORA = "peft.tuners.lora"


class UpdateScale(NamedTuple):
    """The scale of one update: where it is kept, and its full value."""

    holder: MutableMapping[str, Any]
    key: str
    value: float


def update_scales(model: Model) -> list[UpdateScale]:
    """Return the scales of the updates in a model."""
    return [
        UpdateScale(holder, key, holder[key])
        for module in _linear_modules(model)
        for holder, key in _places(module)
    ]


def set_share(scales: Iterable[UpdateScale], share: float) -> None:
    """Set each scale to a share of its full value."""
    for scale in scales:
        scale.holder[scale.key] = share * scale.value


@torch.no_grad()
def require_linear_updates(model: Model, backbone_tensors: set[int]) -> None:
    """Raise `Unsupported` unless a share of the scales is a step from the start to the model.

    `model` is as the method attached it, and `backbone_tensors` are the identities of the tensors
    that came before it.
    """
    inside = {id(p) for one in _linear_modules(model) for p in _update_of(one).parameters()}
    inside |= backbone_tensors | {id(p) for p in heads_of(model).parameters()}
    others = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in inside]
    if others:
        raise Unsupported(f"it trains {others[0]}, in no update that is linear in a scale")
    scales = update_scales(model)
    if not scales:
        raise Unsupported("it has no update with a scale")
    full = logits_on_noise(model)
    set_share(scales, 0.0)
    none = logits_on_noise(model)
    set_share(scales, 1.0)
    if not torch.equal(none, full):
        raise Unsupported(
            "its update is not zero at the start, so that a scale of 0 is not the start"
        )


def _linear_modules(model: nn.Module) -> Iterator[nn.Module]:
    yield from (module for module in model.modules() if _is_linear(module))


def _is_linear(module: nn.Module) -> bool:
    if type(module).__module__.startswith(PEFT_LORA):
        dora: Any = getattr(module, "use_dora", {})
        return hasattr(module, "scaling") and not any(dora.values())
    return bool(getattr(module, "linear_in_scale", False))


def _update_of(module: nn.Module) -> Any:
    """Return the part of a module that is the update, without the frozen layer that it may hold."""
    branch = getattr(module, "branch", None)
    return getattr(module, branch) if isinstance(branch, str) else module


def _places(module: Any) -> list[tuple[MutableMapping[str, Any], str]]:
    """Return where a module keeps its scales; nowhere if it goes through another's."""
    if "scaling" in vars(module):
        return [(module.scaling, name) for name in module.scaling]
    return [(vars(module), "scale")] if "scale" in vars(module) else []
