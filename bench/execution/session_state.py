"""The state of a session: how far its searches are, the cells of its plan, and how it ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.execution import plan_lines
from bench.execution.plan import Plan
from bench.execution.tuning import Search, SearchState


@dataclass(frozen=True)
class TuningState:
    """The progress of a request's searches: the trials known so far, and those that are over."""

    searches: Sequence[tuple[Search, SearchState]]
    trials: Plan
    num_trials: int  # that there will be in the end

    @property
    def num_unfinished(self) -> int:
        """The number of searches without final cells so far."""
        return sum(state.best_point is None for _, state in self.searches)

    def describe_waiting(self) -> str:
        """Say how many final cells wait for their trials; empty where none does."""
        unfinished = [one for one, state in self.searches if state.best_point is None]
        count = sum(len(search.resolved.seeds) for search in unfinished)
        return f"; {count} more wait for their trials" if count else ""


@dataclass(frozen=True)
class SessionPlan:
    """The cells of a request, as far as they are known, and which of them have a result."""

    finals: Plan
    tuning: TuningState | None = None  # None: no trials come first


@dataclass(frozen=True)
class SessionResult:
    """The result of a session: its cells, and how many of them have no result."""

    cells: frozenset[str] = frozenset()  # digests of the final cells
    num_run: int = 0  # of trials and final cells, those that were run now
    num_failed: int = 0  # final cells
    tuning: TuningState | None = None  # None: no trials came first
    num_failed_trials: int = 0
    has_run_finals: bool = True  # False: failed trials kept them from being run
    records: frozenset[Path] = frozenset()  # of trials and final cells, that have ended
    rests_on_package_alone: bool = False  # data and weights come with the project

    @property
    def num_cells(self) -> int:
        """The number of final cells."""
        return len(self.cells)

    @property
    def is_complete(self) -> bool:
        """Whether every cell has a result, those of the trials among them."""
        is_tuned = self.tuning is None or not self.tuning.num_unfinished
        has_failed = self.num_failed or self.num_failed_trials or not self.has_run_finals
        return is_tuned and not has_failed

    def nothing_left(self, results: Path) -> str:
        """Say that a complete session has nothing to run, when it is asked for again."""
        kind = "final runs" if self.tuning else "cells"
        return plan_lines.nothing_to_run(self.num_cells, kind, results)
