"""How far a grid is, seen from any shell or machine that reads its results folder."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import sleep
from typing import Any

from bench import estimates
from bench.claims import Claims
from bench.console import duration
from bench.plan import is_done
from bench.records import Settings, Store
from bench.runner import Cell

PAUSE = 2.0  # seconds between two looks


@dataclass(frozen=True)
class Seen:
    """What a look at the results folder found."""

    done: int
    failed: int
    running: Sequence[dict[str, Any]]  # what each claim tells
    left: Sequence[Settings]  # neither done nor failed nor running

    def lines(self, seconds: float, known: int) -> Iterator[str]:
        """In words; `seconds` are those that may be left for one worker, as `known` cells went."""
        counts = f"{self.done} done, {len(self.running)} running, {self.failed} failed"
        yield f"{counts}, {len(self.left)} left"
        for told in self.running:
            of = f" of {told['epochs']}" if "epochs" in told else ""
            epochs = f", epoch {told['epoch']}{of}" if "epoch" in told else ""
            yield f"  {told.get('cell', 'a cell')}{epochs} ({told['host']}, process {told['pid']})"
        if not known:
            yield "no earlier cell of this suite to estimate the time from"
        else:
            workers = max(1, len(self.running))
            beside = f", {workers} at a time" if workers > 1 else ""
            yield f"about {duration(seconds / workers)}{beside}, as {known} earlier ones went"


def look(cells: Iterable[Cell], store: Store) -> Seen:
    """Count the cells by what has become of them."""
    held = dict(Claims(store.root).all())
    done, failed, running, left = 0, 0, list[dict[str, Any]](), list[Settings]()
    for cell in cells:
        claim, record = held.get(cell.settings.digest()), store.find(cell.settings)
        if claim is not None:
            running.append(claim)
        elif is_done(record):
            done += 1
        elif record is not None:
            failed += 1
        else:
            left.append(cell.settings)
    return Seen(done, failed, running, left)


def watch(cells: Sequence[Cell], store: Store) -> Iterator[list[str]]:
    """What is seen, whenever it has changed, until no cell is left and none runs."""
    before: list[str] = []
    while True:
        seen = look(cells, store)
        known = estimates.read(store, cells[0].settings.suite)
        lines = list(seen.lines(known.seconds(seen.left), known.count))
        if lines != before:
            yield lines
        if not seen.left and not seen.running:
            return
        before = lines
        sleep(PAUSE)
