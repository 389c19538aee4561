"""Lines about a plan: its cells, their data and their backbones."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.config import backbone
from bench.execution.plan import Plan
from bench.models import scant_training
from bench.records.description import describe_cell
from bench.training.cell import Cell

SYNTHETIC_NOTE = (
    "the images are synthetic, drawn to rehearse the job: its accuracies say nothing about a method"
)


def cell_lines(planned: Plan) -> Iterator[str]:
    """Describe each cell and whether it is done, a line each."""
    for cell in planned.cells:
        state = "done" if planned.is_done(cell) else "to run"
        yield f"{state:7} {describe_cell(cell)}"


def nothing_to_run(count: int, kind: str, results: Path) -> str:
    """Say that all cells of a run have a result."""
    return f"nothing to run: {count} of {count} {kind} have a result in {results}"


def data_warnings(cells: Iterable[Cell]) -> list[str]:
    """Return the warnings about the data of cells, without repetitions."""
    said = (
        text
        for cell in cells
        for text in ([SYNTHETIC_NOTE] if cell.settings.is_synthetic else cell.data_warnings)
    )
    return list(dict.fromkeys(f"bench: {text}" for text in said))


def method_warnings(cells: Iterable[Cell]) -> list[str]:
    """Say where a method finds next to nothing to train in its backbone, each pair once."""
    pairs = {(cell.settings.method, id(cell.backbone)): cell for cell in cells}
    said = (
        scant_training.scant_training(cell.backbone, name, cell.method)
        for (name, _), cell in pairs.items()
    )
    return [f"bench: {text}" for text in said if text]


def backbone_lines(cells: Iterable[Cell]) -> list[str]:
    """Describe each backbone of the cells: its input, its weights, and how it was found."""
    lines = dict[str, bool]()
    alike = dict[tuple[int, str], Cell]()
    for cell in cells:
        alike.setdefault((id(cell.backbone), cell.settings.recipe["normalisation"]), cell)
    for cell in alike.values():
        s, notes = cell.settings, cell.backbone.notes
        how = backbone.describe_input(s.input, s.recipe["normalisation"])
        line = f"backbone {s.backbone}: {how}; weights {s.weights[:12]}"
        lines["; ".join([line, *notes])] = True
    return list(lines)
