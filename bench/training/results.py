"""The result of a cell: an outcome or a failure, which becomes its record."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import methods
from bench.records.schema import Failure, Outcome, Record
from bench.records.store import Store
from bench.training import checkpoint_file
from bench.training.cell import Cell
from bench.utils.errors import first_line
from methods import Unsupported
from methods.shared.memory import is_out_of_memory

MeasuredOutcome = tuple[Outcome | None, dict[str, Any]]
"""The outcome, None except on rank 0; and extra data to store in the record's environment."""


@dataclass(frozen=True)
class RunResult:
    """The outcome or the failure of a cell, and extra data for the record's environment."""

    outcome: Outcome | None
    failure: Failure | None
    notes: dict[str, Any] = field(default_factory=dict)


def catch_failures(work: Callable[[], MeasuredOutcome]) -> RunResult:
    """Return the result of the work, with any exception as its failure."""
    try:
        outcome, notes = work()
        return RunResult(outcome, None, notes)
    except Unsupported as error:
        return RunResult(None, _unsupported_failure(error))
    except SystemExit as error:
        message = f"the cell ended its process, with status {error.code}"
        return RunResult(None, Failure("failed", "SystemExit", message, traceback.format_exc()))
    except Exception as error:
        name = "OutOfMemory" if is_out_of_memory(error) else type(error).__name__
        return RunResult(None, Failure("failed", name, first_line(error), traceback.format_exc()))


def described(result: RunResult, seconds: float) -> dict[str, Any]:
    """Return a result's notes, and the seconds of its cell: of this run, and before it resumed."""
    return {**result.notes, "seconds": seconds + result.notes.get("seconds_before_resuming", 0.0)}


def _unsupported_failure(error: Unsupported) -> Failure:
    """Return the failure with the method's message, or with the traceback of what it raised."""
    kind = type(error.__cause__ or error).__name__
    trace = traceback.format_exc() if error.__cause__ else ""
    return Failure("unsupported", kind, str(error), trace)


def write_record(
    cell: Cell,
    store: Store,
    outcome: Outcome | None,
    failure: Failure | None,
    environment: dict[str, Any],
) -> Record:
    """Build the cell's record and write it to the store; with an outcome, no checkpoint is left.

    If a cell cannot be measured, an earlier record with an outcome is kept.
    """
    remark = methods.remark(cell.settings.method)
    environment = environment | {"data_warnings": list(cell.data_warnings)}
    parts = (cell.settings, cell.task.group, outcome, failure, environment, cell.request, remark)
    record = Record(*parts, tuned=cell.tuned)
    former = store.find(cell.settings) if cell.measurements and failure else None
    if former is None or not former.ok:
        store.write(record)
    if record.ok:
        checkpoint_file.remove(store.checkpoint_path(cell.settings))
    return record
