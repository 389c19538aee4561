"""Study cards: the cells of a paper's analysis, what is measured of them, and its figure or table.

A study can also run over stand-ins that come with the project.
"""

from collections.abc import Iterator
from dataclasses import asdict, field, replace
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from bench.config import loading
from bench.config.bounds import Flag, Line, NameOrPath, Plain, RateAbove, Real, Seed, Share, Text
from bench.config.loading import validate
from bench.papers import layouts
from bench.papers.claims import PAPERS_FOLDER
from bench.papers.layouts import StandIns
from bench.papers.shares import AXIS, collapse_shares, expand_shares
from bench.records import measurements
from bench.records.schema import STRICT
from bench.utils.errors import UserError, unknown_name
from bench.utils.names import shorten

STUDIES_FOLDER = "studies"  # below a paper's
MAX_VARIANTS = 10_000  # of a grid: each is planned by itself
# by which cells differ, besides fields
CELL_COLUMNS = ("suite", "task", "backbone", "method", "seed")
OUTCOME_COLUMNS = ("accuracy", "init_seconds", "init_images", "train_seconds", "method_params")


@dataclass(frozen=True, config=STRICT)
class Grid:
    """Cells: each method on each backbone, task and seed, with each of the varied values."""

    suite: NameOrPath
    methods: list[Line]
    backbones: list[NameOrPath]
    seeds: list[Seed]
    tasks: list[Line] = field(default_factory=list)  # empty: all
    vary: dict[Line, list[Plain]] = field(default_factory=dict)  # fields of recipe or methods
    tasks_as: dict[Line, dict[Line, Plain]] = field(default_factory=dict)  # axis -> task -> value
    shares: list[Share] = field(default_factory=list)  # of the training images: an axis train_share
    quick: dict[Line, Plain] = field(default_factory=dict)  # entries that `--quick` puts instead

    def __post_init__(self) -> None:
        for kind in ("methods", "backbones", "seeds"):
            if not getattr(self, kind):
                raise ValueError(f"{kind} must name at least one")
        for name, values in self.vary.items():
            if not values:
                raise ValueError(f"vary.{name} must have at least one value")
        if prod(map(len, self.vary.values())) > MAX_VARIANTS:
            raise ValueError(f"vary has more than {MAX_VARIANTS:,} combinations of values")
        if len(set(self.shares)) < len(self.shares):
            raise ValueError(f"shares must be distinct; {shorten(self.shares)} was given")
        if self.shares and AXIS in self.vary.keys() | self.tasks_as.keys():
            raise ValueError(f"shares is the axis {AXIS}: leave it out of vary and tasks_as")
        for name in self.quick:
            if name == "quick" or name not in vars(self):
                raise ValueError(str(unknown_name("entry of a grid", name, [*vars(self)])))

    def variants(self) -> Iterator[dict[str, Any]]:
        """Yield each combination of the varied values; one that is empty where nothing varies."""
        for values in product(*self.vary.values()):
            yield dict(zip(self.vary, values, strict=True))


@dataclass(frozen=True, config=STRICT)
class StudyFigure:
    """A picture of one value: over `x`, a curve or bar for each of `lines`, in panels.

    In a heat map the value is the colour over `x` and `y`, and there are no lines.
    """

    kind: Literal["curves", "bars", "heat map"]
    x: Line
    value: Line
    y: Line = ""
    lines: list[Line] = field(default_factory=list)
    panels: list[Line] = field(default_factory=list)
    normalised: Flag = False  # each column of a heat map from its worst row to its best

    def __post_init__(self) -> None:
        if bool(self.y) != (self.kind == "heat map"):
            raise ValueError("a heat map has a y, and nothing else has one")
        if self.normalised and not self.y:
            raise ValueError("normalised says of a heat map's columns; this is none")

    def axes(self) -> list[str]:
        """Return the columns that place a value in the figure."""
        return list(filter(None, [*self.panels, *self.lines, self.y, self.x]))


@dataclass(frozen=True, config=STRICT)
class OurValue:
    """Our value for a printed number, from a method's means over the figure's x.

    The x of the best or worst mean, their range, a method's lead over an `other`, or the best value
    itself; `at` one x where that is said.
    """

    take: Literal["best", "worst", "range", "lead", "value"]
    of: Line
    other: Line = ""
    at: float | str | None = None
    value: Line = "accuracy"

    def __post_init__(self) -> None:
        if bool(self.other) != (self.take == "lead"):
            raise ValueError("a lead is over an other method, and nothing else has one")
        if self.value not in OUTCOME_COLUMNS:
            raise ValueError(str(unknown_name("value", self.value, OUTCOME_COLUMNS)))


@dataclass(frozen=True, config=STRICT)
class PrintedNumber:
    """A number that the paper prints about a figure."""

    what: Line
    value: Real
    unit: Literal["%", "s", "d", "x", "prompts"]
    ours: OurValue | None = None  # None: nothing here answers to it


@dataclass(frozen=True, config=STRICT)
class Study:
    """One analysis of a paper."""

    title: Line
    shows: Text  # in the paper
    recipe: NameOrPath
    grid: list[Grid]
    measure: list[Line] = field(default_factory=list)
    tune: Flag = False  # trials on validation data choose the rates first, over the recipe's grid
    search: dict[Literal["lr", "weight_decay"], list[RateAbove]] = field(default_factory=dict)
    against: list[Line] = field(default_factory=list)  # methods that all are compared with
    table: Line = ""  # the paper's layout that it fills
    figure: StudyFigure | None = None
    printed: list[PrintedNumber] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.grid:
            raise ValueError("grid: at least one is needed")
        if bool(self.table) == bool(self.figure):
            raise ValueError("a study fills either a table or a figure")
        if self.tune and self.measure:
            raise ValueError("a study that tunes measures nothing: leave out tune, or measure")
        if self.search and not self.tune:
            raise ValueError("search says what trials search, and without tune there are none")
        for rate, values in self.search.items():
            if not values or len(set(values)) < len(values):
                raise ValueError(f"search.{rate} needs distinct values; {shorten(values)} given")
        try:
            for name in self.measure:
                measurements.find_measurement(name)
            _require_drawable(self)
            _require_compared(self)
        except UserError as error:
            raise ValueError(str(error)) from None

    def varied(self) -> list[str]:
        """Return the fields that any grid varies, and the axes that tasks are values of."""
        every = [[*g.vary, *g.tasks_as, *([AXIS] if g.shares else [])] for g in self.grid]
        return list(dict.fromkeys(name for names in every for name in names))

    def overrides(self, variant: dict[str, Any]) -> dict[str, Any]:
        """Return all changes of recipe and methods by one combination of varied values."""
        return variant | ({"grid": self.search} if self.search else {})

    def measurement_for(self, value: str) -> str:
        """Return the measurement that gives a value; empty: the records do."""
        found = (
            name
            for name in self.measure
            if value in measurements.find_measurement(name).value_columns
        )
        return next(found, "")


@dataclass(frozen=True)
class NamedStudy:
    """A study with its place."""

    name: str  # as it is asked for
    stem: str  # of its files below the results' folder of studies
    paper: str  # empty: none
    study: Study


def study_names() -> list[str]:
    """Return every study of every paper."""
    return sorted(
        f"{p.parent.parent.name}/{p.stem}" for p in PAPERS_FOLDER.glob(f"*/{STUDIES_FOLDER}/*.toml")
    )


def load_study(name: str) -> NamedStudy:
    """Return the study called ``paper/study``, or the card at that path where it ends in .toml.

    Raises `UserError` for an unknown name and for a card that cannot be used.
    """
    if name.endswith(".toml"):
        path, study = Path(name), _read_study(Path(name))
        if study.table:
            raise UserError(f"{path} fills the table {study.table!r}: only a paper's study can")
        return NamedStudy(name, path.stem, "", study)
    if name not in study_names():
        raise unknown_name("study", name, study_names())
    paper, _, stem = name.partition("/")
    study = _read_study(PAPERS_FOLDER / paper / STUDIES_FOLDER / f"{stem}.toml")
    _require_table(paper, study)
    return NamedStudy(name, name, paper, study)


def _read_study(path: Path) -> Study:
    study = loading.load_card(Study, "study", str(path), path.parent)
    return replace(study, grid=[expand_shares(grid) for grid in study.grid])


def _require_table(paper: str, study: Study) -> None:
    known = [table.id for table in layouts.load_layouts(paper).table]
    if study.table and study.table not in known:
        raise unknown_name(f"table of {paper}", study.table, known)


def _require_compared(study: Study) -> None:
    """Raise `UserError` for a comparison with what the study does not run."""
    methods = list(dict.fromkeys(name for grid in study.grid for name in grid.methods))
    answers = [one.ours for one in study.printed if one.ours]
    named = [*study.against, *(name for one in answers for name in (one.of, one.other) if name)]
    for name in named:
        if name not in methods:
            raise unknown_name("method of the study", name, methods)


def _require_drawable(study: Study) -> None:
    """Raise `UserError` for a figure of what the study has not."""
    if study.figure is None:
        return
    value = study.figure.value
    taken = [v for name in study.measure for v in measurements.find_measurement(name).value_columns]
    if value not in (*OUTCOME_COLUMNS, *taken):
        raise unknown_name("value", value, [*OUTCOME_COLUMNS, *taken])
    source = study.measurement_for(value)
    places = measurements.find_measurement(source).columns if source else ()
    known = [*CELL_COLUMNS, *study.varied(), *places]
    for name in study.figure.axes():
        if name not in known:
            raise unknown_name("axis", name, known)


STAND_IN_SUITE = "mini"


def with_stand_ins(name: str, study: Study) -> tuple[Study, list[str]]:
    """Return the study over stand-ins, and the backbones and tasks that have none.

    Raises `UserError` if nothing remains.
    """
    instead = layouts.load_stand_ins(STAND_IN_SUITE)
    grids, gone = [], list[str]()
    for number, grid in enumerate(study.grid):
        table, without = _substitute_grid(collapse_shares(grid), instead)
        gone += without
        if table["backbones"]:
            quick = validate(Grid, f"the study {name}, grid {number}, quick", table)
            grids.append(expand_shares(quick))
    if not grids:
        raise UserError(f"nothing stands in for {', '.join(gone)} of the study {name}")
    return replace(study, recipe=instead.recipe, grid=grids), list(dict.fromkeys(gone))


def _substitute_grid(grid: Grid, instead: StandIns) -> tuple[dict[str, Any], list[str]]:
    """Return the grid's entries over stand-ins or for `--quick`, and the names without any."""
    suite = instead.suites.get(grid.suite, "")
    backbones, gone = _substitute_names(grid.backbones, instead.backbones)
    tasks, absent = _substitute_names(grid.tasks, instead.tasks)
    if "suite" not in grid.quick and not suite:
        return {"backbones": []}, [grid.suite]
    found = {**asdict(grid), "suite": suite, "backbones": backbones, "tasks": tasks, "quick": {}}
    lost = {"backbones": gone, "tasks": absent}
    if absent and not tasks and "tasks" not in grid.quick:
        return {"backbones": []}, absent  # no tasks would be all
    return found | grid.quick, [n for kind in lost if kind not in grid.quick for n in lost[kind]]


def _substitute_names(names: list[str], instead: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return the stand-ins of the names, each once, and the names without."""
    found = dict.fromkeys(instead[name] for name in names if name in instead)
    return list(found), [name for name in names if name not in instead]
