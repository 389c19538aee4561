"""What a run sees of its training between two epochs: scores, time, and who else looks."""

# MERGED bench.training.callbacks: """The course of a cell, written as it goes into event files that TensorBoard shows."""
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import torch
from timm.models import VisionTransformer

from bench.records.schema import Record, Settings
from bench.records.store import Store
from bench.training import devices, trainer
from bench.utils.errors import UserError


@dataclass
class TrainingMonitor:
    """What scoring finds as training goes, and the time that is no training's."""

    evaluations: dict[int, trainer.EvaluationResult] = field(default_factory=dict)  # by epoch
    test_seconds: float = 0.0
    callback_seconds: float = 0.0
    start_time: float = field(default_factory=perf_counter)

    def accuracy(self, epoch: int) -> float | None:
        """In percent; None where that epoch was not scored."""
        return self.evaluations[epoch].accuracy if epoch in self.evaluations else None

    def best_epoch(self) -> int:
        """The first epoch with the best accuracy."""
        return max(self.evaluations, key=lambda epoch: (self.evaluations[epoch].accuracy, -epoch))

    def train_seconds(self) -> float:
        """Seconds of training until now."""
        return perf_counter() - self.start_time - self.test_seconds - self.callback_seconds


@dataclass(frozen=True)
class EpochState:
    """A model between two epochs of its training."""

    model: VisionTransformer
    epoch: int  # 0: before the first
    seconds: float  # of training until then
    loss: float | None  # mean of the epoch
    accuracy: float | None  # on the split that is scored, where it was


ProgressCallback = Callable[[int, float, float | None], None]
"""Is told each epoch, from 1, its training loss, and its accuracy where test was scored."""

Callback = Callable[[EpochState], None]


def epoch_end_callback(
    model: VisionTransformer,
    device: torch.device,
    watch: TrainingMonitor,
    progress: ProgressCallback,
    observe: Callback | None,
) -> ProgressCallback:
    """What tells `progress` of an epoch and, before, `observe`; which sees the start at once."""
    if observe is None:
        return progress

    def seen(epoch: int, loss: float | None) -> None:
        devices.synchronise(device)
        seconds, start = watch.train_seconds(), perf_counter()
        observe(EpochState(model, epoch, seconds, loss, watch.accuracy(epoch)))
        devices.synchronise(device)
        watch.callback_seconds += perf_counter() - start

    def tell(epoch: int, loss: float, accuracy: float | None) -> None:
        seen(epoch, loss)
        progress(epoch, loss, accuracy)

    seen(0, None)
    return tell


if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOSS_TAG, ACCURACY_TAG, FINAL_ACCURACY_TAG = "loss/train", "accuracy/test", "accuracy/last_epoch"


class Tracker(Protocol):
    """Is told how a cell goes."""

    def log_epoch(self, epoch: int, loss: float, accuracy: float | None) -> None:
        """An epoch, from 1, its training loss, and its accuracy where test was scored."""
        ...

    def log_result(self, record: Record) -> None:
        """How it ended."""
        ...


class NullTracker:
    """Writes nothing."""

    def log_epoch(self, epoch: int, loss: float, accuracy: float | None) -> None:
        """Nothing to be done."""

    def log_result(self, record: Record) -> None:
        """Nothing to be done."""


@dataclass(frozen=True)
class TensorBoardTracker:
    """Writes an event as soon as it is told one."""

    writer: "SummaryWriter"

    def log_epoch(self, epoch: int, loss: float, accuracy: float | None) -> None:
        self.writer.add_scalar(LOSS_TAG, loss, epoch)
        if accuracy is not None:
            self.writer.add_scalar(ACCURACY_TAG, accuracy, epoch)
        self.writer.flush()

    def log_result(self, record: Record) -> None:
        if record.outcome:
            found = {FINAL_ACCURACY_TAG: record.outcome.accuracy}
            self.writer.add_hparams(hparams(record.settings), found, run_name=".")
        elif record.failure:
            self.writer.add_text("failure", f"{record.failure.error}: {record.failure.message}")


@contextmanager
def open_tracker(wanted: bool, settings: Settings, store: Store) -> Iterator[Tracker]:
    """What is to be told how the cell with these settings goes.

    Raises `UserError` where event files are wanted and TensorBoard is not installed.
    """
    if not wanted:
        yield NullTracker()
        return
    require_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    place = tensorboard_folder(store, settings)
    for earlier in place.glob("events.out.tfevents.*"):  # or two courses would be drawn as one
        earlier.unlink()
    with SummaryWriter(str(place)) as writer:
        yield TensorBoardTracker(writer)


def require_tensorboard() -> None:
    """Raise `UserError` where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise UserError(
            "--tensorboard needs the package tensorboard, which is not installed: "
            'pip install -e ".[tensorboard]"'
        )


def tensorboard_folder(store: Store, settings: Settings) -> Path:
    """Where the event files of a cell lie: its record's place, below ``tensorboard/``."""
    record = store.path(settings).relative_to(store.root / "records")
    return store.root / "tensorboard" / record.with_suffix("")


def hparams(settings: Settings) -> dict[str, Any]:
    """What TensorBoard tells cells apart by: plain numbers and words."""
    names = ("suite", "task", "backbone", "method", "seed")
    about = {name: getattr(settings, name) for name in names}
    own = {f"method.{name}": value for name, value in settings.fields.items()}
    every = {**about, "recipe": settings.recipe["name"], **settings.rates, **own}
    return {k: v if isinstance(v, int | float | str) else str(v) for k, v in every.items()}
