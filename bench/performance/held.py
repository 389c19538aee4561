"""What an act takes: seconds, and memory beyond what was held before it."""

import ctypes
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from time import perf_counter
from typing import Any

import torch

from bench import environment


@dataclass(frozen=True)
class Held:
    """What an act took: seconds, and MiB beyond what was held before it."""

    seconds: float
    mib: float


def held(act: Callable[[], object], device: str) -> Held:
    """Act, and say what it took."""
    place = torch.device(device)
    torch.zeros((), device=place)  # a GPU that was not touched yet has no figure to set back
    with suppress(OSError, AttributeError, TypeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)  # what was freed earlier must not be taken again unseen
    environment.synchronise(place)
    environment.reset_peak_memory(place)
    before, start = environment.peak_memory_mb(place), perf_counter()
    act()
    environment.synchronise(place)
    return Held(perf_counter() - start, environment.peak_memory_mb(place) - before)


def alone(act: Callable[..., Held], *words: Any) -> Held:
    """What an act gives in a process of its own, which has as many threads as this one."""
    threads = (torch.get_num_threads(),)
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, threads) as one:
        return one.submit(act, *words).result()
