"""Epoch-end callbacks: test accuracy, training time, progress, observers and TensorBoard."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import torch

from bench.records.schema import Record, Settings
from bench.records.store import Store
from bench.training import devices, trainer
from bench.utils.errors import UserError
from bench.utils.escaping import for_markdown, for_terminal
from methods.shared.base import Model

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOSS_TAG, ACCURACY_TAG, FINAL_ACCURACY_TAG = "loss/train", "accuracy/test", "accuracy/last_epoch"


@dataclass
class TrainingMonitor:
    """Evaluations during training, and the training time without evaluations and callbacks."""

    evaluations: dict[int, trainer.EvaluationResult] = field(default_factory=dict)  # by epoch
    test_seconds: float = 0.0
    callback_seconds: float = 0.0
    start_time: float = field(default_factory=perf_counter)
    earlier_seconds: float = 0.0  # of training and tests, before the checkpoint it goes on from

    def accuracy(self, epoch: int) -> float | None:
        """Return the accuracy after an epoch in percent; None if it was not evaluated."""
        return self.evaluations[epoch].accuracy if epoch in self.evaluations else None

    def best_epoch(self) -> int:
        """Return the first epoch with the best accuracy."""
        return max(self.evaluations, key=lambda epoch: (self.evaluations[epoch].accuracy, -epoch))

    def train_seconds(self) -> float:
        """Return the seconds of training until now."""
        others = self.test_seconds + self.callback_seconds
        return self.earlier_seconds + perf_counter() - self.start_time - others


@dataclass(frozen=True)
class EpochState:
    """A model between two epochs of its training."""

    model: Model
    epoch: int  # 0: before the first
    seconds: float  # of training until then
    loss: float | None  # mean of the epoch
    accuracy: float | None  # on the eval split; None if not evaluated


ProgressCallback = Callable[[int, float, float | None], None]
"""Called after each epoch, from 1, with training loss and test accuracy (None: not evaluated)."""

Callback = Callable[[EpochState], None]


def epoch_end_callback(
    model: Model,
    device: torch.device,
    monitor: TrainingMonitor,
    progress: ProgressCallback,
    callback: Callback | None,
) -> ProgressCallback:
    """Return an epoch-end callback that calls `callback`, then `progress`.

    `callback` is also called at once, before epoch 1; its time is not counted as training.
    """
    if callback is None:
        return progress

    def observe(epoch: int, loss: float | None) -> None:
        devices.synchronise(device)
        seconds, start = monitor.train_seconds(), perf_counter()
        callback(EpochState(model, epoch, seconds, loss, monitor.accuracy(epoch)))
        devices.synchronise(device)
        monitor.callback_seconds += perf_counter() - start

    def after_epoch(epoch: int, loss: float, accuracy: float | None) -> None:
        observe(epoch, loss)
        progress(epoch, loss, accuracy)

    observe(0, None)
    return after_epoch


class Tracker(Protocol):
    """An experiment tracker of one cell."""

    def log_epoch(self, epoch: int, loss: float, accuracy: float | None) -> None:
        """Log an epoch, from 1, with training loss and test accuracy (None: not evaluated)."""
        ...

    def log_result(self, record: Record) -> None:
        """Log the outcome or failure."""
        ...


class NullTracker:
    """A tracker that logs nothing."""

    def log_epoch(self, epoch: int, loss: float, accuracy: float | None) -> None:
        """Do nothing."""

    def log_result(self, record: Record) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class TensorBoardTracker:
    """A tracker that writes TensorBoard events, each at once."""

    writer: "SummaryWriter"

    def log_epoch(self, epoch: int, loss: float, accuracy: float | None) -> None:
        self.writer.add_scalar(LOSS_TAG, loss, epoch)
        if accuracy is not None:
            self.writer.add_scalar(ACCURACY_TAG, accuracy, epoch)
        self.writer.flush()

    def log_result(self, record: Record) -> None:
        if record.outcome:
            metrics = {FINAL_ACCURACY_TAG: record.outcome.accuracy}
            self.writer.add_hparams(hparams(record.settings), metrics, run_name=".")
        elif record.failure:
            said = f"{record.failure.error}: {record.failure.message}"
            self.writer.add_text("failure", for_markdown(said))


@contextmanager
def open_tracker(enabled: bool, settings: Settings, store: Store) -> Iterator[Tracker]:
    """Open the tracker of the cell with these settings; a null tracker unless `enabled`.

    Raises `UserError` if event files are requested and TensorBoard is not installed.
    """
    if not enabled:
        yield NullTracker()
        return
    require_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    folder = tensorboard_folder(store, settings)
    for earlier in folder.glob("events.out.tfevents.*"):  # or two runs would be drawn as one
        earlier.unlink()
    with SummaryWriter(str(folder)) as writer:
        yield TensorBoardTracker(writer)


def require_tensorboard() -> None:
    """Raise `UserError` if TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise UserError(
            "--tensorboard needs the package tensorboard, which is not installed: "
            'pip install -e ".[tensorboard]"'
        )


def tensorboard_folder(store: Store, settings: Settings) -> Path:
    """Return the folder of a cell's event files: its record's path, below ``tensorboard/``."""
    record = store.path(settings).relative_to(store.root / "records")
    return store.root / "tensorboard" / record.with_suffix("")


def hparams(settings: Settings) -> dict[str, Any]:
    """Return the cell's hyper-parameters for TensorBoard: plain numbers and strings."""
    names = ("suite", "task", "backbone", "method", "seed")
    common = {name: getattr(settings, name) for name in names}
    own = {f"method.{name}": value for name, value in settings.fields.items()}
    every = {**common, "recipe": settings.recipe["name"], **settings.rates, **own}
    return {
        for_terminal(k): v if isinstance(v, int | float) else for_terminal(v)
        for k, v in every.items()
    }
