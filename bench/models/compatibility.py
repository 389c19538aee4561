"""Compatibility of methods and backbones: attaching on the meta device, before any compute.

A method that cannot be attached is unsupported on that backbone: its cells are recorded as
unsupported, and the others run. A request is refused only for what the user can fix: fields with
which a method supports none of the request's backbones although it supports at least one with its
registered fields, so that none of its cells could have a result.
"""

from collections.abc import Collection, Iterable
from dataclasses import asdict

import torch

import methods
from bench.models import backbones
from bench.models.backbones import Backbone
from bench.utils.errors import UserError, first_line
from methods import Method, Unsupported
from methods.shared.base import Model
from methods.shared.memory import is_out_of_memory


def attach_error(backbone: Backbone, method: Method) -> Unsupported | None:
    """Return why a method cannot be attached to a backbone; None if it can, or if unknown."""
    with torch.device("meta"):
        return try_attach(method, backbones.build(backbone, classes=2).requires_grad_(False))


def try_attach(method: Method, model: Model) -> Unsupported | None:
    """Attach the method to a model on the meta device; return as `attach_error` does."""
    try:
        method.attach(model)
    except Unsupported as error:
        return error
    except Exception as error:  # a plug-in, peft or timm may raise any kind
        return _as_unsupported(error) if _is_backbone_error(error) else None
    return None


def _is_backbone_error(error: Exception) -> bool:
    """Return whether the error would also occur with real weights and enough memory."""
    return not ("meta" in str(error).lower() or is_out_of_memory(error))


def _as_unsupported(error: Exception) -> Unsupported:
    kind = type(error).__name__
    unsupported = Unsupported(
        f"it cannot be attached to this backbone: {kind}: {first_line(error)}"
    )
    unsupported.__cause__ = error
    return unsupported


def require_attachable(backbone: Backbone, method: Method) -> None:
    """Raise `Unsupported` if the method cannot be attached."""
    error = attach_error(backbone, method)
    if error:
        raise error


def require_fields_attachable(
    candidates: Collection[Backbone], name: str, changed: Iterable[Method]
) -> None:
    """Raise `UserError` for changed fields with which the method `name` supports no backbone.

    `changed` holds the method once with each requested set of fields.
    """
    registered = methods.create(name)
    for method in changed:
        if method != registered and _fields_at_fault(candidates, method, registered):
            why = attach_error(next(iter(candidates)), method)
            raise UserError(f"{name} with {_changed_fields(method, registered)}: {why}")


def _fields_at_fault(candidates: Collection[Backbone], method: Method, registered: Method) -> bool:
    """Return whether only a method's changed fields keep it from every backbone."""
    supports_none = all(attach_error(backbone, method) for backbone in candidates)
    return supports_none and not all(attach_error(backbone, registered) for backbone in candidates)


def _changed_fields(method: Method, registered: Method) -> str:
    """List the fields whose values differ from the registered method's."""
    default, own = asdict(registered), asdict(method)
    return ", ".join(f"{name}={value}" for name, value in own.items() if default[name] != value)
