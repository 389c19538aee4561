"""A plug-in of methods that fail in every way in which a cell can fail."""

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist
from timm.models import VisionTransformer

from methods import register
from methods.linear import Linear


def _raise() -> None:
    raise RuntimeError("it broke")


def _exhaust() -> None:
    raise MemoryError("no room for the last matrix")


FAULTS: dict[str, Callable[[], Any]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "raise": _raise,
    "hang": lambda: time.sleep(3600),
    "exit": lambda: sys.exit(3),
    "memory": _exhaust,
}


@dataclass(frozen=True)
class Faulty(Linear):
    """Does what `kind` says when it is prepared."""

    kind: str

    def prepare(self, model: VisionTransformer, batches: Any) -> None:
        FAULTS[self.kind]()


@dataclass(frozen=True)
class SecondFails(Linear):
    """Breaks in the second of several processes."""

    def prepare(self, model: VisionTransformer, batches: Any) -> None:
        self.attach(model)
        if dist.is_initialized() and dist.get_rank() == 1:
            raise RuntimeError("the second one broke")


@dataclass(frozen=True)
class Slow(Linear):
    """Takes its time, in seconds, before it is prepared."""

    seconds: float = 0.5

    def prepare(self, model: VisionTransformer, batches: Any) -> None:
        time.sleep(self.seconds)
        self.attach(model)


for name in FAULTS:
    register(f"fault_{name}", Faulty(name))
register("fault_second", SecondFails())
register("slow", Slow())
