"""What a run shows: a live display on a terminal, plain lines elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Any, Protocol

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from bench import search
from bench.records import PROMPTS_FROM, Record, Settings


class Asked(Protocol):
    """A cell, or its record."""

    @property
    def settings(self) -> Settings: ...

    @property
    def request(self) -> dict[str, Any]: ...


def title(one: Asked) -> str:
    """A cell in words, a trial by its point."""
    s = one.settings
    source = s.fields.get(PROMPTS_FROM)
    prompts = f" with prompts from {source}" if source else ""
    where = f"{s.method}{prompts} on {s.backbone}, {s.task}"
    if not search.is_trial(s):
        return f"{where}, seed {s.seed}"
    at = one.request["at"]
    return f"trial of {where}, {search.said(at['point'])}, epochs {at['epochs']}"


def verdict(record: Record) -> str:
    """How a cell ended, in words."""
    if record.outcome is not None:
        found = record.outcome
        return f"{found.accuracy:.2f} % in {found.train_seconds + found.test_seconds:.1f} s"
    assert record.failure is not None
    if record.failure.kind == "unsupported":
        return f"n/a: {record.failure.message}"
    return f"failed: {record.failure.error}: {record.failure.message}"


class Display:
    """Counts cells, with a bar for each that runs; `console` decides whether it may redraw."""

    def __init__(self, console: Console, cells: int, epochs: int):
        self.console, self.cells, self.epochs = console, cells, epochs
        self.ended, self.begun = 0, perf_counter()
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.all = self.bars.add_task("epochs of all cells", total=cells * epochs)
        self.each = dict[str, TaskID]()  # of the cells that run, by their names

    @contextmanager
    def shown(self) -> Iterator["Display"]:
        with self.bars:
            yield self

    def start(self, cell: Asked) -> None:
        """A cell begins."""
        self.each[cell.settings.digest()] = self.bars.add_task(title(cell), total=self.epochs)

    def epoch(self, cell: Asked, number: int) -> None:
        """An epoch of a cell has ended."""
        self.bars.update(self.each[cell.settings.digest()], completed=number)
        self._count()

    def again(self, record: Record) -> None:
        """A cell has failed and is tried once more."""
        self._remove(record)
        self._line(f"{title(record)}: {verdict(record)}; it is tried again")

    def end(self, record: Record) -> None:
        """A cell has ended: say how, and how long the others may take."""
        self._remove(record)
        self.ended += 1
        self._count()
        left = (self.cells - self.ended) * (perf_counter() - self.begun) / self.ended
        rest = f", about {duration(left)} left" if self.ended < self.cells else ""
        count = f"[{self.ended:{len(str(self.cells))}}/{self.cells}]"
        self._line(f"{count} {title(record)}: {verdict(record)}{rest}")

    def _remove(self, record: Record) -> None:
        cell = record.settings.digest()  # its title may be another's, too: of a varied field, say
        if cell in self.each:  # not where another run had it
            self.bars.remove_task(self.each.pop(cell))

    def _count(self) -> None:
        bars = {task.id: task.completed for task in self.bars.tasks}
        under_way = sum(bars[one] for one in self.each.values())
        self.bars.update(self.all, completed=self.ended * self.epochs + under_way)

    def _line(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


Tell = Callable[[str, int, int], None]  # of what, how much is done, of how much (0: not known)


class Transfer:
    """Files that come and images that are made: a bar each, or a line where each begins and ends.

    `bytes` and `images` are told, in their unit, a name, how much is done and how much there is.
    """

    def __init__(self, console: Console):
        self.console, self.under_way = console, dict[str, TaskID]()
        self.bytes: Tell = partial(self._tell, decimal)
        self.images: Tell = partial(self._tell, "{:,} images".format)
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[amount]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    @contextmanager
    def shown(self) -> Iterator["Transfer"]:
        with self.bars:
            yield self

    def _tell(self, unit: Callable[[int], str], name: str, done: int, total: int) -> None:
        amount = f"{unit(done)} of {unit(total)}" if total else unit(done)
        if name not in self.under_way:
            self.under_way[name] = self.bars.add_task(name, total=total or None, amount=amount)
            if not self.console.is_terminal:
                goes_on = f"{unit(done)} of " * (0 < done < total)
                self._line(f"{name}: {goes_on}{unit(total) if total else 'of unknown size'}")
        self.bars.update(self.under_way[name], completed=done, total=total or None, amount=amount)
        if 0 < total <= done:
            self.bars.remove_task(self.under_way.pop(name))
            self._line(f"{name}: done, {unit(done)}")

    def _line(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever reads best.

    >>> duration(90)
    '1.5 min'
    """
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"
