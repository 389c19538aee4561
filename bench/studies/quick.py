"""A study over what comes with the project, in place of the paper's data and backbones."""

from dataclasses import asdict, replace
from typing import Any

from bench.cards import checked
from bench.errors import UserError
from bench.report.papers import layouts
from bench.report.papers.layouts import StandIns
from bench.studies.cards import Grid, Study

SUITE = "mini"


def mapped(name: str, study: Study) -> tuple[Study, list[str]]:
    """The study over stand-ins, and the backbones and tasks that have none and go.

    Raises `UserError` where nothing is left of it.
    """
    instead = layouts.stand_ins(SUITE)
    grids, gone = [], list[str]()
    for number, grid in enumerate(study.grid):
        table, without = _table(grid, instead)
        gone += without
        if table["backbones"]:
            grids.append(checked(Grid, f"the study {name}, grid {number}, quick", table))
    if not grids:
        raise UserError(f"nothing stands in for {', '.join(gone)} of the study {name}")
    return replace(study, recipe=instead.recipe, grid=grids), list(dict.fromkeys(gone))


def _table(grid: Grid, instead: StandIns) -> tuple[dict[str, Any], list[str]]:
    """The grid's entries over stand-ins or as it says for `--quick`; what has no stand-in."""
    suite = instead.suites.get(grid.suite, "")
    backbones, gone = _each(grid.backbones, instead.backbones)
    tasks, absent = _each(grid.tasks, instead.tasks)
    if "suite" not in grid.quick and not suite:
        return {"backbones": []}, [grid.suite]
    found = {**asdict(grid), "suite": suite, "backbones": backbones, "tasks": tasks, "quick": {}}
    lost = {"backbones": gone, "tasks": absent}
    if absent and not tasks and "tasks" not in grid.quick:
        return {"backbones": []}, absent  # no tasks would be all
    return found | grid.quick, [n for kind in lost if kind not in grid.quick for n in lost[kind]]


def _each(names: list[str], instead: dict[str, str]) -> tuple[list[str], list[str]]:
    """What stands in for the names, each once, and the names without."""
    found = dict.fromkeys(instead[name] for name in names if name in instead)
    return list(found), [name for name in names if name not in instead]
