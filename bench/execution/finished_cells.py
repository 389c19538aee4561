"""The cells of a session that have ended, and how many of their records are still there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.execution.plan import Plan
from bench.records.schema import Settings
from bench.records.store import Store


@dataclass
class FinishedCells:
    """The places of the records of cells that have ended, in this session or before."""

    paths: set[Path] = field(default_factory=set)
    stores: list[Store] = field(default_factory=list)  # that the session writes to

    def add(self, store: Store, settings: Settings) -> None:
        """Add a cell that has a record in this store."""
        self.paths.add(store.path(settings))

    def add_done(self, planned: Plan, store: Store) -> None:
        """Add the cells of a plan that had ended before."""
        for cell in planned.cells:
            if planned.is_done(cell):
                self.add(store, cell.settings)

    @contextmanager
    def stated(self) -> Iterator[None]:
        """Let an interrupt, or an `OSError`, say what is kept of the cells."""
        try:
            yield
        except KeyboardInterrupt as error:
            parts = (self.describe(), str(error))
            raise KeyboardInterrupt("; ".join(filter(None, parts))) from None
        except BrokenPipeError:  # nobody reads what is printed: nothing is to be said
            raise
        except OSError as error:
            raise OSError(f"{error}; {self.describe()}") from error

    def num_lost(self) -> int:
        """Count the cells whose record is no longer there."""
        return sum(not os.path.isfile(path) for path in self.paths)

    def lost_lines(self) -> list[str]:
        """Return a line about records that were removed while the session ran; none if none was."""
        lost = self.num_lost()
        return [f"bench: {self.describe()}: {lost} records were removed"] if lost else []

    def describe(self) -> str:
        """Describe how many of the cells still have their record on disk."""
        lost, count = self.num_lost(), len(self.paths)
        if lost:
            kept = count - lost or "none"
            return f"of {count} finished cells {kept} {'is' if count - lost < 2 else 'are'} kept"
        if all(store.is_there() for store in self.stores):
            return "every finished cell is kept"
        return "no finished cell is kept"  # one may have ended unseen
