"""Planning of a paper's study: its grids become requests, and their cells take measurements."""

from collections.abc import Iterator
from dataclasses import replace

from bench.execution import plan, selection
from bench.execution.plan import Plan
from bench.execution.request import Request
from bench.papers.study import Study, load_study, with_stand_ins
from bench.records import measurements
from bench.records.store import Store
from bench.training.cell import Cell
from bench.utils.errors import UserError


def plan_study(study: Study, common: Request, store: Store) -> Plan:
    """Plan every cell of the study; done are those with a record and all measurements.

    `common` has the device, the root of the data and, if not all, the seeds. Raises `UserError` as
    `plan.plan_cells` does, and for a measurement that a method cannot give.
    """
    require_valid_study(study, common)
    found = {cell.digest: cell for cell in _study_cells(study, common)}
    cells = [replace(cell, measurements=tuple(study.measure)) for cell in found.values()]
    return plan.look_up(cells, store, common.device)


def require_valid_study(study: Study, common: Request) -> None:
    """Raise `UserError` for seeds not in the study, and measurements a method cannot give."""
    _require_seeds(study, common.seeds)
    _require_measurable(study)


def _study_cells(study: Study, common: Request) -> Iterator[Cell]:
    count = 0
    for request in study_requests(study, common):
        cells = plan.plan_cells(request)
        count += len(cells)
        plan.require_plannable(count)
        yield from cells


def study_requests(study: Study, common: Request) -> Iterator[Request]:
    """Yield a request for each combination of the study's varied values."""
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


def _require_seeds(study: Study, seeds: list[int]) -> None:
    known = sorted({seed for grid in study.grid for seed in grid.seeds})
    unknown = [seed for seed in seeds if seed not in known]
    if unknown:
        listed = ", ".join(map(str, known))
        raise UserError(f"the study has the seeds {listed}; {unknown[0]} was asked for")


def _require_measurable(study: Study) -> None:
    """Raise `UserError` for a measurement of prompts that a method or a backbone cannot give."""
    from bench.training.measures.layerwise import require_prompts, require_token_sequence

    methods = dict.fromkeys(
        selection.require_known_methods(n for grid in study.grid for n in grid.methods)
    )
    names = dict.fromkeys(backbone for grid in study.grid for backbone in grid.backbones)
    for name in study.measure:
        if measurements.find_measurement(name).needs_prompts:
            for method in methods:
                require_prompts(name, method)
            for backbone in names:
                require_token_sequence(name, backbone)


# Fields of a request that a study's card decides, and their command-line options.
OPTION_OF_FIELD = {
    **{name: name for name in ("suite", "methods", "backbones", "tasks", "recipe", "tune")},
    "changes": "set",
}
UNSET_VALUES: tuple[object, ...] = (None, [], {})  # not False: --no-tune is a choice


def plan_study_by_name(name: str, is_quick: bool, common: Request, store: Store) -> Plan:
    """Plan a study; raises `UserError` where the request sets what the study's card decides."""
    return plan_study(_load_study(name, is_quick, common), common, store)


def tuning_requests(name: str, is_quick: bool, common: Request) -> list[Request]:
    """Return the requests of a study that is tuned, none of another.

    Raises `UserError` as `plan_study_by_name` does.
    """
    study = _load_study(name, is_quick, common)
    if not study.tune:
        return []
    require_valid_study(study, common)
    return list(study_requests(study, common))


def _load_study(name: str, is_quick: bool, common: Request) -> Study:
    if "tuning.halving" in common.changes:
        raise UserError(
            f"--halving cannot go with --study: the recipe of {name} says how trials are run"
        )
    for field, option in OPTION_OF_FIELD.items():
        if getattr(common, field) not in UNSET_VALUES:
            raise UserError(f"--{option} cannot go with --study: the card of {name} says it")
    named = load_study(name)
    return with_stand_ins(name, named.study)[0] if is_quick else named.study
