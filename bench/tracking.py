"""The course of a cell, written as it goes into event files that TensorBoard shows."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bench.errors import UserError
from bench.records import Record, Settings, Store

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOSS, ACCURACY, FINAL = "loss/train", "accuracy/test", "accuracy/last_epoch"


class Tracker(Protocol):
    """Is told how a cell goes."""

    def epoch(self, epoch: int, loss: float, accuracy: float | None) -> None:
        """An epoch, from 1, its training loss, and its accuracy where test was scored."""
        ...

    def end(self, record: Record) -> None:
        """How it ended."""
        ...


class Untracked:
    """Writes nothing."""

    def epoch(self, epoch: int, loss: float, accuracy: float | None) -> None:
        """Nothing to be done."""

    def end(self, record: Record) -> None:
        """Nothing to be done."""


@dataclass(frozen=True)
class EventFiles:
    """Writes an event as soon as it is told one."""

    writer: "SummaryWriter"

    def epoch(self, epoch: int, loss: float, accuracy: float | None) -> None:
        self.writer.add_scalar(LOSS, loss, epoch)
        if accuracy is not None:
            self.writer.add_scalar(ACCURACY, accuracy, epoch)
        self.writer.flush()

    def end(self, record: Record) -> None:
        if record.outcome:
            found = {FINAL: record.outcome.accuracy}
            self.writer.add_hparams(hyper_parameters(record.settings), found, run_name=".")
        elif record.failure:
            self.writer.add_text("failure", f"{record.failure.error}: {record.failure.message}")


@contextmanager
def tracker(wanted: bool, settings: Settings, store: Store) -> Iterator[Tracker]:
    """What is to be told how the cell with these settings goes.

    Raises `UserError` where event files are wanted and TensorBoard is not installed.
    """
    if not wanted:
        yield Untracked()
        return
    require_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    place = folder(store, settings)
    for earlier in place.glob("events.out.tfevents.*"):  # or two courses would be drawn as one
        earlier.unlink()
    with SummaryWriter(str(place)) as writer:
        yield EventFiles(writer)


def require_tensorboard() -> None:
    """Raise `UserError` where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise UserError(
            "--tensorboard needs the package tensorboard, which is not installed: "
            'pip install -e ".[tensorboard]"'
        )


def folder(store: Store, settings: Settings) -> Path:
    """Where the event files of a cell lie: its record's place, below ``tensorboard/``."""
    record = store.path(settings).relative_to(store.root / "records")
    return store.root / "tensorboard" / record.with_suffix("")


def hyper_parameters(settings: Settings) -> dict[str, Any]:
    """What TensorBoard tells cells apart by: plain numbers and words."""
    names = ("suite", "task", "backbone", "method", "seed")
    about = {name: getattr(settings, name) for name in names}
    own = {f"method.{name}": value for name, value in settings.fields.items()}
    every = {**about, "recipe": settings.recipe["name"], **settings.rates, **own}
    return {k: v if isinstance(v, int | float | str) else str(v) for k, v in every.items()}
