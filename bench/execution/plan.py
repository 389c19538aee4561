"""Planning: a request becomes cells, all of them checked before the first trains.

The calls in order: `make_plan`, `plan_cells`, `resolve_request`, `ResolvedRequest.build_cell`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from bench.execution import selection
from bench.execution.request import Request
from bench.execution.resolution import resolve_request, splits_of
from bench.models import compatibility
from bench.records import measurements, schema
from bench.records.schema import Record
from bench.records.store import Store
from bench.training import trainer
from bench.training.cell import Cell
from bench.utils.collector import paused_collector
from bench.utils.errors import UserError

MAX_CELLS = 250_000  # 10 kB of memory each


@dataclass(frozen=True)
class Plan:
    """The cells of a request, and which of them have a result already."""

    cells: list[Cell]
    done: set[str]  # digests
    device: str

    def pending(self) -> list[Cell]:
        """Return the cells without a result."""
        return [cell for cell in self.cells if not self.is_done(cell)]

    def is_done(self, cell: Cell) -> bool:
        """Return whether a cell of the plan has a result."""
        return bool(self.done) and cell.digest in self.done  # digests take a third of planning


def make_plan(request: Request, store: Store) -> Plan:
    """Plan every cell of the request, and mark those that are done; raises as `plan_cells` does."""
    return look_up(plan_cells(request), store, request.device)


def look_up(cells: list[Cell], store: Store, device: str) -> Plan:
    """Return the plan of cells: done are those with a record and all their measurements."""
    found = recorded_of(cells, store)
    return Plan(cells, {cell.digest for cell in found if _has_all(cell, store)}, device)


def require_plannable(count: int) -> None:
    """Raise `UserError` for more cells than fit into memory side by side."""
    if count > MAX_CELLS:
        raise UserError(
            f"{count:,} cells were asked for, and {MAX_CELLS:,} can be planned at once: name fewer "
            "tasks, methods, backbones or seeds"
        )


def recorded_of(cells: Sequence[Cell], store: Store) -> list[Cell]:
    """Return the cells that have a file in the store; the others need not be looked up."""
    suites = dict.fromkeys(cell.settings.suite for cell in cells)
    recorded = {suite: store.recorded_cells(suite) for suite in suites}
    known = ((cell, recorded[cell.settings.suite]) for cell in cells)
    return [cell for cell, digests in known if digests and cell.digest in digests]


def _has_all(cell: Cell, store: Store) -> bool:
    record = store.find(cell.settings)
    return is_done(record) and not pending_measurements(record, cell, store)


def pending_measurements(record: Record | None, cell: Cell, store: Store) -> list[str]:
    """Return the measurements that a recorded cell lacks; none where it has no outcome."""
    if record is None or not record.ok:
        return []
    return measurements.missing_measurements(store.root, record.cell, cell.measurements)


@paused_collector()
def plan_cells(request: Request) -> list[Cell]:
    """Build every cell of the request, in a fixed order that does not depend on the order of names.

    Raises `UserError` for anything that would keep a cell from running: unknown names, missing data
    or weights, a field that a method does not have, or a field value with which a method fits none
    of the backbones. If a method fits only some backbones, or none even with its registered fields,
    its cells record that it is unsupported.
    """
    at, resolved = request.at, resolve_request(request)
    require_plannable(resolved.num_cells())
    resolved.check_data(splits_of(at))
    selected = {name: resolved.build_method(name, at) for name in resolved.methods}
    if not request.fields_checked:
        for name, method in selected.items():
            compatibility.require_fields_attachable(resolved.backbones.values(), name, [method])
    axes = product(resolved.cards(), resolved.tasks, sorted(selected), resolved.seeds)
    return [resolved.build_cell(*point, at) for point in axes]


def unique_cells(cells: Iterable[Cell]) -> list[Cell]:
    """Return each cell once: a card may have been requested by two names."""
    return list({cell.digest: cell for cell in cells}.values())


def is_done(record: Record | None) -> bool:
    """Return whether a cell with this record needs no run: it has an outcome or cannot have one.

    A trial whose loss diverged is done, too: that is its answer.
    """
    if record is None or record.failure is None:
        return record is not None
    diverged = record.failure.error == trainer.Diverged.__name__
    return record.failure.kind == "unsupported" or (diverged and schema.is_trial(record.settings))


def wants_tuning(request: Request) -> bool:
    """Return whether trials come before the request's cells.

    Raises `UserError` where they are asked for and the recipe has no grid.
    """
    _, _, recipe, _ = selection.load_cards(request)
    if request.tune and not recipe.grid:
        raise UserError(f"recipe {recipe.name!r} has no grid to tune over; leave out --tune")
    return recipe.tuning.by_default if request.tune is None else request.tune
