"""A study becomes cells, checked before the first of them trains."""

# MERGED bench.execution.study_plan: """A study as the command line asks for it: planned, and shown."""
from collections.abc import Iterator
from dataclasses import replace

from bench.execution import method_overrides, plan
from bench.execution.plan import Plan, Request
from bench.papers.study import Study, load_study, with_stand_ins
from bench.records import measurements
from bench.records.schema import Record
from bench.records.store import Store
from bench.training.cell import Cell
from bench.utils.errors import UserError


def plan_study(study: Study, common: Request, store: Store) -> Plan:
    """Every cell of the study, and those that have a record and all measures.

    `common` says where to run, where the data lie and, where not all of them, which seeds. Raises
    `UserError` as `plan.cells` does, and for a measurement that a method cannot give.
    """
    require_valid_study(study, common)
    found = {cell.settings.digest(): cell for cell in _study_cells(study, common)}
    cells = [replace(cell, measurements=tuple(study.measure)) for cell in found.values()]
    done = {cell.settings.digest() for cell in cells if _is_done(cell, store)}
    return Plan(cells[0].suite, cells, done, common.device)


def require_valid_study(study: Study, common: Request) -> None:
    """Raise `UserError` for seeds that the study has not, and for what a method cannot give."""
    _require_seeds(study, common.seeds)
    _require_measurable(study)


def _study_cells(study: Study, common: Request) -> Iterator[Cell]:
    for request in study_requests(study, common):
        yield from plan.plan_cells(request)


def study_requests(study: Study, common: Request) -> Iterator[Request]:
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
                changes=study.overrides(changes),
                tune=study.tune,
            )


def _is_done(cell: Cell, store: Store) -> bool:
    record = store.find(cell.settings)
    return plan.is_done(record) and not pending_measurements(record, cell, store)


def pending_measurements(record: Record | None, cell: Cell, store: Store) -> list[str]:
    """The measurements that a recorded cell is still to give; none where it has no outcome."""
    if record is None or not record.ok:
        return []
    return measurements.missing_measurements(store.root, cell.settings.digest(), cell.measurements)


def _require_seeds(study: Study, wanted: list[int]) -> None:
    known = sorted({seed for grid in study.grid for seed in grid.seeds})
    other = [seed for seed in wanted if seed not in known]
    if other:
        listed = ", ".join(map(str, known))
        raise UserError(f"the study has the seeds {listed}; {other[0]} was asked for")


def _require_measurable(study: Study) -> None:
    """Raise `UserError` for a measure of prompts that is asked of a method without."""
    from bench.training.measures.layerwise import require_prompts

    methods = dict.fromkeys(
        method_overrides.require_known_methods(n for grid in study.grid for n in grid.methods)
    )
    for name in study.measure:
        if measurements.find_measurement(name).needs_prompts:
            for method in methods:
                require_prompts(name, method)


# An entry of a request, and its option.
OPTION_OF_FIELD = {"suite": "suite", "methods": "methods", "backbones": "backbones", "tasks": "tasks",
        "recipe": "recipe", "changes": "set", "tune": "tune"}  # fmt: skip
UNSET_VALUES: tuple[object, ...] = (None, [], {})  # was said: --no-tune is something


def plan_study_by_name(name: str, is_quick: bool, asked: Request, store: Store) -> Plan:
    """The cells of a study; raises `UserError` where the request says what its card says."""
    return plan_study(_load_study(name, is_quick, asked), asked, store)


def tuning_requests(name: str, is_quick: bool, asked: Request) -> list[Request]:
    """What a study asks for whose cells come after trials; nothing of another; raises as `plan`."""
    study = _load_study(name, is_quick, asked)
    if not study.tune:
        return []
    require_valid_study(study, asked)
    return list(study_requests(study, asked))


def _load_study(name: str, is_quick: bool, asked: Request) -> Study:
    if "tuning.halving" in asked.changes:
        raise UserError(
            f"--halving cannot go with --study: the recipe of {name} says how trials go"
        )
    for entry, option in OPTION_OF_FIELD.items():
        if getattr(asked, entry) not in UNSET_VALUES:
            raise UserError(f"--{option} cannot go with --study: the card of {name} says it")
    named = load_study(name)
    return with_stand_ins(name, named.study)[0] if is_quick else named.study
