"""Which methods fit which backbones, found out by attaching on the meta device, before any compute.

A method that cannot be attached, for whatever reason, is not supported on that backbone: its cells
are recorded so, and the others run. A request is refused for it only where the user can mend it: a
method whose fields were changed fits none of the request's backbones, and would fit one of them as
it is registered. The fields are at fault then, and no cell of the method could have a result.
"""

from collections.abc import Collection, Iterable
from dataclasses import asdict

import torch
from timm.models import VisionTransformer

import methods
from bench.models import backbones
from bench.models.backbones import Backbone
from bench.utils.errors import UserError, first_line
from methods import Method, Unsupported
from methods.shared.memory import is_out_of_memory


def attach_error(backbone: Backbone, method: Method) -> Unsupported | None:
    """Why a method cannot be attached to a backbone; None where it can, or that cannot be told."""
    with torch.device("meta"):
        return try_attach(method, backbones.build(backbone, classes=2).requires_grad_(False))


def try_attach(method: Method, model: VisionTransformer) -> Unsupported | None:
    """The same of a model on the meta device, to which the method is attached."""
    try:
        method.attach(model)
    except Unsupported as error:
        return error
    except Exception as error:  # of a plug-in, peft or timm: of any kind
        return _as_unsupported(error) if _is_backbone_error(error) else None
    return None


def _is_backbone_error(error: Exception) -> bool:
    """Whether it would be raised with real weights, which have values, and much memory as well."""
    return not ("meta" in str(error).lower() or is_out_of_memory(error))


def _as_unsupported(error: Exception) -> Unsupported:
    kind = type(error).__name__
    found = Unsupported(f"it cannot be attached to this backbone: {kind}: {first_line(error)}")
    found.__cause__ = error
    return found


def require_attachable(backbone: Backbone, method: Method) -> None:
    """Raise `Unsupported` where the method cannot be attached."""
    found = attach_error(backbone, method)
    if found:
        raise found


def require_fields_attachable(
    found: Collection[Backbone], name: str, changed: Iterable[Method]
) -> None:
    """Raise `UserError` for changed fields with which the method `name` fits no backbone.

    `changed` are the method with each of the sets of fields that are asked for.
    """
    plain = methods.create(name)
    for method in changed:
        if method != plain and _fields_at_fault(found, method, plain):
            why = attach_error(next(iter(found)), method)
            raise UserError(f"{name} with {_changed_fields(method, plain)}: {why}")


def _fields_at_fault(found: Collection[Backbone], method: Method, plain: Method) -> bool:
    """Whether a method's changed fields alone keep it from every backbone."""
    fits_none = all(attach_error(backbone, method) for backbone in found)
    return fits_none and not all(attach_error(backbone, plain) for backbone in found)


def _changed_fields(method: Method, plain: Method) -> str:
    """The fields in which a method is not as it is registered."""
    registered, own = asdict(plain), asdict(method)
    return ", ".join(f"{name}={value}" for name, value in own.items() if registered[name] != value)
