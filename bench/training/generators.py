"""The states of all random generators that a training may draw from, as JSON holds them."""

import base64
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.training.random_state import random_state, set_random_state

States = dict[str, Any]


def read_states(device: torch.device, batch_order: torch.Generator | None) -> States:
    """Return the states of Python's, NumPy's and torch's generators, and of the batch order's."""
    name, keys, *rest = np.random.get_state(legacy=True)
    states: States = {
        "python": random.getstate(),
        "numpy": [name, np.asarray(keys).tolist(), *rest],
        "torch": [_to_text(state) for state in random_state(device)],
    }
    if batch_order is not None:
        states["batch_order"] = _to_text(batch_order.get_state())
    return states


def set_states(states: States, device: torch.device, batch_order: torch.Generator | None) -> None:
    """Set the generators to what `read_states` returned, directly or by way of JSON."""
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), *rest))
    set_random_state(device, tuple(map(_from_text, states["torch"])))
    if batch_order is not None:
        batch_order.set_state(_from_text(states["batch_order"]))


def _to_text(state: Tensor) -> str:
    return base64.b64encode(state.numpy().tobytes()).decode()


def _from_text(text: str) -> Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text, validate=True)), dtype=torch.uint8)
