"""A study becomes cells, checked before the first of them trains."""

from collections.abc import Iterator
from dataclasses import replace

from bench import adapting, plan
from bench.errors import UserError
from bench.plan import Plan, Request
from bench.records import Record, Store
from bench.runner import Cell
from bench.studies import kept, measurements
from bench.studies.cards import Study


def make(study: Study, common: Request, store: Store) -> Plan:
    """Every cell of the study, and those that have a record and all measures.

    `common` says where to run, where the data lie and, where not all of them, which seeds. Raises
    `UserError` as `plan.cells` does, and for a measurement that a method cannot give.
    """
    require(study, common)
    found = {cell.settings.digest(): cell for cell in _cells(study, common)}
    cells = [replace(cell, observed=tuple(study.measure)) for cell in found.values()]
    done = {cell.settings.digest() for cell in cells if _is_done(cell, store)}
    return Plan(cells[0].suite, cells, done, common.device)


def require(study: Study, common: Request) -> None:
    """Raise `UserError` for seeds that the study has not, and for what a method cannot give."""
    _require_seeds(study, common.seeds)
    _require_measurable(study)


def _cells(study: Study, common: Request) -> Iterator[Cell]:
    for request in requests(study, common):
        yield from plan.cells(request)


def requests(study: Study, common: Request) -> Iterator[Request]:
    """What the study asks for, a request each combination of varied values."""
    for grid in study.grid:
        seeds = [seed for seed in grid.seeds if seed in (common.seeds or grid.seeds)]
        for changes in grid.variants() if seeds else ():
            yield replace(
                common,
                suite=grid.suite,
                methods=grid.methods,
                backbones=grid.backbones,
                tasks=grid.tasks,
                seeds=seeds,
                recipe=study.recipe,
                changes=study.changed(changes),
                tune=study.tune,
            )


def _is_done(cell: Cell, store: Store) -> bool:
    record = store.find(cell.settings)
    return plan.is_done(record) and not lacks(record, cell, store)


def lacks(record: Record | None, cell: Cell, store: Store) -> list[str]:
    """The measurements that a recorded cell is still to give; none where it has no outcome."""
    if record is None or not record.ok:
        return []
    return kept.missing(store.root, cell.settings.digest(), cell.observed)


def _require_seeds(study: Study, wanted: list[int]) -> None:
    known = sorted({seed for grid in study.grid for seed in grid.seeds})
    other = [seed for seed in wanted if seed not in known]
    if other:
        listed = ", ".join(map(str, known))
        raise UserError(f"the study has the seeds {listed}; {other[0]} was asked for")


def _require_measurable(study: Study) -> None:
    """Raise `UserError` for a measure of prompts that is asked of a method without."""
    from bench.studies.measures import require_prompts

    methods = dict.fromkeys(adapting.known_methods(n for grid in study.grid for n in grid.methods))
    for name in study.measure:
        if measurements.find(name).of_prompts:
            for method in methods:
                require_prompts(name, method)
