"""A tensor's way from one module of a backbone to a later one."""

from torch import Tensor


class TensorSlot:
    """What an earlier module gives and a later one takes, once each forward pass.

    Both hold this object. In a copy or a pickle of the model it is empty, and still shared.
    """

    def __init__(self) -> None:
        self._tensor: Tensor | None = None

    def __reduce__(self) -> tuple[type["TensorSlot"], tuple[()]]:
        return TensorSlot, ()

    def put(self, tensor: Tensor) -> None:
        """Hold `tensor`; one that was not taken is forgotten."""
        self._tensor = tensor

    def pop(self) -> Tensor:
        """What was given in this forward pass."""
        held, self._tensor = self._tensor, None
        if held is None:
            raise RuntimeError("nothing was handed over: the backbone must run before its head")
        return held
