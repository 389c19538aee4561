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
from bench import backbones
from bench.backbones import Backbone
from bench.errors import UserError, first_line
from methods import Method, Unsupported
from methods.memory import ran_out


def misfit(backbone: Backbone, method: Method) -> Unsupported | None:
    """Why a method cannot be attached to a backbone; None where it can, or that cannot be told."""
    with torch.device("meta"):
        return refusal(method, backbones.build(backbone, classes=2).requires_grad_(False))


def refusal(method: Method, model: VisionTransformer) -> Unsupported | None:
    """The same of a model on the meta device, to which the method is attached."""
    try:
        method.attach(model)
    except Unsupported as error:
        return error
    except Exception as error:  # of a plug-in, peft or timm: of any kind
        return _unsupported(error) if _is_of_backbone(error) else None
    return None


def _is_of_backbone(error: Exception) -> bool:
    """Whether it would be raised with real weights, which have values, and much memory as well."""
    return not ("meta" in str(error).lower() or ran_out(error))


def _unsupported(error: Exception) -> Unsupported:
    kind = type(error).__name__
    found = Unsupported(f"it cannot be attached to this backbone: {kind}: {first_line(error)}")
    found.__cause__ = error
    return found


def require(backbone: Backbone, method: Method) -> None:
    """Raise `Unsupported` where the method cannot be attached."""
    found = misfit(backbone, method)
    if found:
        raise found


def require_fields(found: Collection[Backbone], name: str, changed: Iterable[Method]) -> None:
    """Raise `UserError` for changed fields with which the method `name` fits no backbone.

    `changed` are the method with each of the sets of fields that are asked for.
    """
    plain = methods.create(name)
    for method in changed:
        if method != plain and _at_fault(found, method, plain):
            why = misfit(next(iter(found)), method)
            raise UserError(f"{name} with {_differences(method, plain)}: {why}")


def _at_fault(found: Collection[Backbone], method: Method, plain: Method) -> bool:
    """Whether a method's changed fields alone keep it from every backbone."""
    fits_none = all(misfit(backbone, method) for backbone in found)
    return fits_none and not all(misfit(backbone, plain) for backbone in found)


def _differences(method: Method, plain: Method) -> str:
    """The fields in which a method is not as it is registered."""
    registered, own = asdict(plain), asdict(method)
    return ", ".join(f"{name}={value}" for name, value in own.items() if registered[name] != value)
