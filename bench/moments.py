"""What a run sees of its training between two epochs: scores, time, and who else looks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

import torch
from timm.models import VisionTransformer

from bench import environment, trainer


@dataclass
class Watch:
    """What scoring finds as training goes, and the time that is no training's."""

    scores: dict[int, trainer.Predictions] = field(default_factory=dict)  # by epoch
    seconds: float = 0.0
    observing: float = 0.0
    began: float = field(default_factory=perf_counter)

    def accuracy(self, epoch: int) -> float | None:
        """In percent; None where that epoch was not scored."""
        return self.scores[epoch].accuracy if epoch in self.scores else None

    def best(self) -> int:
        """The first epoch with the best accuracy."""
        return max(self.scores, key=lambda epoch: (self.scores[epoch].accuracy, -epoch))

    def trained(self) -> float:
        """Seconds of training until now."""
        return perf_counter() - self.began - self.seconds - self.observing


@dataclass(frozen=True)
class Moment:
    """A model between two epochs of its training."""

    model: VisionTransformer
    epoch: int  # 0: before the first
    seconds: float  # of training until then
    loss: float | None  # mean of the epoch
    accuracy: float | None  # on the split that is scored, where it was


Progress = Callable[[int, float, float | None], None]
"""Is told each epoch, from 1, its training loss, and its accuracy where test was scored."""

Observe = Callable[[Moment], None]


def teller(
    model: VisionTransformer,
    device: torch.device,
    watch: Watch,
    progress: Progress,
    observe: Observe | None,
) -> Progress:
    """What tells `progress` of an epoch and, before, `observe`; which sees the start at once."""
    if observe is None:
        return progress

    def seen(epoch: int, loss: float | None) -> None:
        environment.synchronise(device)
        seconds, start = watch.trained(), perf_counter()
        observe(Moment(model, epoch, seconds, loss, watch.accuracy(epoch)))
        environment.synchronise(device)
        watch.observing += perf_counter() - start

    def tell(epoch: int, loss: float, accuracy: float | None) -> None:
        seen(epoch, loss)
        progress(epoch, loss, accuracy)

    seen(0, None)
    return tell
