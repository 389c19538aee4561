"""A slot that passes a tensor from one module of a backbone to a later one."""

from torch import Tensor


class TensorSlot:
    """Holds a tensor that one module puts and a later one pops, once per forward pass.

    Both modules hold this object. A copy or a pickle of the model has an empty slot, still shared.
    """

    def __init__(self) -> None:
        self._tensor: Tensor | None = None

    def __reduce__(self) -> tuple[type["TensorSlot"], tuple[()]]:
        return TensorSlot, ()

    def put(self, tensor: Tensor) -> None:
        """Store `tensor`, replacing one that was not popped."""
        self._tensor = tensor

    def pop(self) -> Tensor:
        """Return the tensor of this forward pass and empty the slot."""
        held, self._tensor = self._tensor, None
        if held is None:
            raise RuntimeError("nothing was handed over: the backbone must run before its head")
        return held
