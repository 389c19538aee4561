"""A backbone's forward pass as steps in a row, each with the modules that it uses."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class ForwardStep:
    """A step of the forward pass, with the modules and parameters that it uses."""

    name: str
    run: Callable[[Tensor], Tensor]
    parts: tuple[nn.Module | nn.Parameter | None, ...]

    def modules(self) -> Iterator[nn.Module]:
        """Yield all modules, with their children."""
        for part in self.parts:
            if isinstance(part, nn.Module):
                yield from part.modules()

    def tensors(self) -> Iterator[Tensor]:
        """Yield all parameters and buffers."""
        yield from (part for part in self.parts if isinstance(part, nn.Parameter))
        for module in self.modules():
            yield from module.parameters(recurse=False)
            yield from module.buffers(recurse=False)


@singledispatch
def forward_steps(model: Any) -> list[ForwardStep]:
    """Return the steps of timm's own forward pass: the embedding, each block, and what follows.

    An empty list, where they are not known.
    """
    return []


def modules_in_turn(model: nn.Module, *names: str) -> list[ForwardStep]:
    """Return a step for each of these modules of a model."""
    modules = [(name, model.get_submodule(name)) for name in names]
    return [ForwardStep(name, module, (module,)) for name, module in modules]


def children_in_turn(model: nn.Module, name: str) -> list[ForwardStep]:
    """Return a step for each child of a model's module `name`."""
    children = [child for child, _ in model.get_submodule(name).named_children()]
    return modules_in_turn(model, *(f"{name}.{child}" for child in children))


def overridden(model: Any, names: Sequence[str]) -> bool:
    """Return whether the model has another of these functions than the class with known steps."""
    known = next(kind for kind in type(model).__mro__ if kind in forward_steps.registry)
    return any(
        name in vars(model) or getattr(type(model), name, None) is not getattr(known, name, None)
        for name in names
    )
