"""Study cards: they load, name known things, cover the paper's analyses and name their errors."""

import pytest

from bench.config.suite import load_suite
from bench.execution import selection
from bench.papers.study import (
    StudyFigure,
    load_study,
    study_names,
)
from bench.report import study_data


@pytest.mark.sample(5)
@pytest.mark.parametrize("name", study_names())
def test_every_study_names_known_things_of_the_paper(name: str) -> None:
    found = load_study(name).study
    selection.require_known_methods(method for grid in found.grid for method in grid.methods)
    cells = list(study_data.study_cells(found, {}))
    assert cells, "suites, tasks and fields of recipes are looked up on the way"
    for grid in found.grid:
        for task in [*grid.tasks, *(t for of in grid.tasks_as.values() for t in of)]:
            load_suite(grid.suite).find(task)


def test_the_papers_analyses_are_all_there() -> None:
    ids = {name.partition("/")[2] for name in study_names() if name.startswith("spt2024/")}
    of_tables = {"table1", "table4a", "table4b", "tableS2"}
    assert ids == of_tables | {
        *("fig2", "fig3a", "fig3b", "fig3c", "fig3d", "fig4"),
        *("figS1a", "figS1b", "figS1c", "figS3", "figS4"),
        *("control", "convergence"),
    }


def test_a_papers_table_is_filled_by_its_study() -> None:
    """Each cell of the layouts is a place of the study."""
    from bench.papers import layouts

    for name in ("table1", "table4a", "table4b", "tableS2"):
        found = load_study(f"spt2024/{name}").study
        places = [
            (p["suite"], p["task"], p["backbone"], p["method"], p.get("share"))
            for p, _ in study_data.study_cells(found, {})
        ]
        table = next(t for t in layouts.load_layouts("spt2024").table if t.id == name)
        for place in layouts.expand_table(table).entries():
            share = float(place.fields.partition("=")[2]) if place.fields else None
            assert (place.suite, place.on, place.backbone, place.method, share) in places


def test_a_figure_says_what_places_its_values() -> None:
    figure = StudyFigure("heat map", "token_layer", "cka", "layer", panels=["method"])
    assert figure.axes() == ["method", "layer", "token_layer"]
    with pytest.raises(ValueError, match="a heat map has a y"):
        StudyFigure("heat map", "token_layer", "cka")
