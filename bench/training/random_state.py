"""The state of torch's generators, which changes when numbers are drawn."""

import torch
from torch import Tensor

RandomState = tuple[Tensor, ...]


def random_state(device: torch.device) -> RandomState:
    """Return the states of the CPU's generator and, on a GPU, of the device's."""
    on_cpu = torch.get_rng_state()
    return (on_cpu, torch.cuda.get_rng_state(device)) if device.type == "cuda" else (on_cpu,)


def set_random_state(device: torch.device, state: RandomState) -> None:
    """Set what `random_state` returned."""
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)


def same_state(one: RandomState, other: RandomState) -> bool:
    """Return whether two states are equal."""
    return all(map(torch.equal, one, other))
