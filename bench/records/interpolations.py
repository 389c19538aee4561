"""The scores of models between a cell's start and its end: a JSON file, from which all is drawn.

There is one file for each cell and path, in ``interpolation/`` of the results folder.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from bench.records import entries, parsing
from bench.records.markers import Items, Real
from bench.records.schema import STRICT
from bench.utils import folders
from bench.utils.errors import UserError
from bench.utils.files import write_atomically

INTERPOLATION_DIR = "interpolation"
MAX_ALPHA = 10.0  # far beyond both models
MAX_POINTS, MAX_SETS = 201, 50
MAX_FILE_BYTES = 2**20

Along = Literal["weights", "scale"]
Kind = Literal["validation", "test", "shift"]
Alpha = Annotated[float, Real(-MAX_ALPHA, MAX_ALPHA)]


@dataclass(frozen=True, config=STRICT)
class SetScores:
    """The accuracy on one set of images at each alpha."""

    name: entries.Name
    kind: Kind  # validation, on which alpha is chosen; the task's own test; or a shift of it
    images: entries.Images
    accuracies: Annotated[list[entries.Percent], Items(2, MAX_POINTS)]  # top-1 percent


@dataclass(frozen=True, config=STRICT)
class Interpolation:
    """The scores along one path of one cell."""

    cell: entries.CellName
    along: Along
    suite: entries.Name
    task: entries.Name
    backbone: entries.BackboneName
    method: entries.Name
    seed: entries.Seed
    alphas: Annotated[list[Alpha], Items(2, MAX_POINTS)]  # ascending, 0 and 1 among them
    sets: Annotated[list[SetScores], Items(2, MAX_SETS)]

    @property
    def stem(self) -> str:
        """The path of its files below the results folder, without their endings."""
        return f"{INTERPOLATION_DIR}/{self.cell}-{self.along}"

    def of_kind(self, kind: Kind) -> list[SetScores]:
        """Return the sets of a kind, in their order."""
        return [one for one in self.sets if one.kind == kind]


_adapter = TypeAdapter(Interpolation)


def write_interpolation(results: Path, found: Interpolation) -> Path:
    """Write a file of scores atomically, a set a line."""
    place = results / f"{found.stem}.json"
    folders.require_inside(results, place)
    head = {k: v for k, v in asdict(found).items() if k != "sets"}
    lines = ",\n".join(json.dumps(asdict(one)) for one in found.sets)
    write_atomically(place, f'{json.dumps(head)[:-1]}, "sets": [\n{lines}\n]}}\n'.encode())
    return place


def read_interpolation(results: Path, place: Path) -> Interpolation:
    """Read a file of scores; raises `UserError` for one that is not valid, or not in its place."""
    folders.require_inside(results, place)
    found = parsing.read_json(place, _adapter, MAX_FILE_BYTES, "a file of interpolated scores")
    if place != results / f"{found.stem}.json":
        raise UserError(f"{place} has scores that belong in {found.stem}.json")
    if problem := _oddity(found):
        raise UserError(f"{place} {problem}")
    return found


def read_all(results: Path) -> Iterator[Interpolation | UserError]:
    """Yield each file of a results folder, or what is wrong with it, in a fixed order."""
    for place in sorted((results / INTERPOLATION_DIR).glob("*.json")):
        try:
            yield read_interpolation(results, place)
        except UserError as error:
            yield error


def unreadable(results: Path) -> list[str]:
    """Return a sentence for each file of scores that is not valid."""
    return [str(one) for one in read_all(results) if isinstance(one, UserError)]


def _oddity(found: Interpolation) -> str:
    """Return what is contradictory in the scores, or an empty string."""
    if found.alphas != sorted(set(found.alphas)) or not {0.0, 1.0} <= {*found.alphas}:
        return "should have each alpha once, ascending, 0 and 1 among them"
    if len({one.name for one in found.sets}) < len(found.sets):
        return "names a set twice"
    for kind in ("validation", "test"):
        if (count := len(found.of_kind(kind))) != 1:
            return f"has {count} sets of kind {kind}; 1 was expected"
    odd = [one.name for one in found.sets if len(one.accuracies) != len(found.alphas)]
    return f"should have an accuracy of {odd[0]} for each alpha" if odd else ""
