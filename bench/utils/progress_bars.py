"""Progress on a terminal: of transfers, such as downloads, of steps, and of work of any length."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

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
from rich.text import Text

from bench.utils.escaping import for_terminal

# name, amount done, total amount (0: unknown)
TransferCallback = Callable[[str, int, int], None]


def print_line(console: Console, text: str) -> None:
    """Print a text on one line, in which nothing is rich's markup."""
    console.print(for_terminal(text), markup=False, highlight=False, emoji=False, soft_wrap=True)


@contextmanager
def step_bar(console: Console, title: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar with the time left on a terminal; the function yielded advances it by a step."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task(for_terminal(title), total=total)
        yield partial(bars.advance, task)


@contextmanager
def working(console: Console, title: str) -> Iterator[None]:
    """Show on a terminal that something is under way whose length is not known."""
    if not console.is_terminal:
        yield
        return
    with console.status(Text(for_terminal(title))):
        yield


class TransferProgress:
    """A bar for each file downloaded or task written; off a terminal, a line at start and end.

    `on_bytes` and `on_images` are the callbacks to report progress with, in their own unit.
    """

    def __init__(self, console: Console):
        self.console, self.active_tasks = console, dict[str, TaskID]()
        self.on_bytes: TransferCallback = partial(self._update, decimal)
        self.on_images: TransferCallback = partial(self._update, "{:,} images".format)
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[amount]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    @contextmanager
    def live(self) -> Iterator["TransferProgress"]:
        with self.bars:
            yield self

    def _update(self, unit: Callable[[int], str], name: str, done: int, total: int) -> None:
        amount = f"{unit(done)} of {unit(total)}" if total else unit(done)
        if name not in self.active_tasks:
            self.active_tasks[name] = self.bars.add_task(
                for_terminal(name), total=total or None, amount=amount
            )
            if not self.console.is_terminal:
                goes_on = f"{unit(done)} of " * (0 < done < total)
                self._print(f"{name}: {goes_on}{unit(total) if total else 'of unknown size'}")
        self.bars.update(
            self.active_tasks[name], completed=done, total=total or None, amount=amount
        )
        if 0 < total <= done:
            self.bars.remove_task(self.active_tasks.pop(name))
            self._print(f"{name}: done, {unit(done)}")

    def _print(self, text: str) -> None:
        print_line(self.console, text)
