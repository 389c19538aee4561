"""Studies, as their cards declare them: which cells, what is measured of them, how it is shown."""

from collections.abc import Iterator
from dataclasses import field
from itertools import product
from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from bench import cards
from bench.errors import UserError, unknown
from bench.report.papers import layouts
from bench.report.papers.claims import PAPERS
from bench.studies import measurements
from bench.tasks import STRICT

FOLDER = "studies"  # below a paper's
WHICH = ("suite", "task", "backbone", "method", "seed")  # what tells cells apart, beside fields
OUTCOMES = ("accuracy", "init_seconds", "init_images", "train_seconds", "method_params")


@dataclass(frozen=True, config=STRICT)
class Grid:
    """Cells: each method on each backbone, task and seed, with each of the varied values."""

    suite: str
    methods: list[str]
    backbones: list[str]
    seeds: list[int]
    tasks: list[str] = field(default_factory=list)  # empty: all
    vary: dict[str, list[Any]] = field(default_factory=dict)  # fields of recipe or methods
    tasks_as: dict[str, dict[str, Any]] = field(default_factory=dict)  # axis -> task -> value
    quick: dict[str, Any] = field(default_factory=dict)  # entries that `--quick` puts instead

    def __post_init__(self) -> None:
        for kind in ("methods", "backbones", "seeds"):
            if not getattr(self, kind):
                raise ValueError(f"{kind} must name at least one")
        for name, values in self.vary.items():
            if not values:
                raise ValueError(f"vary.{name} must have at least one value")
        for name in self.quick:
            if name == "quick" or name not in vars(self):
                raise ValueError(str(unknown("entry of a grid", name, [*vars(self)])))

    def variants(self) -> Iterator[dict[str, Any]]:
        """Each combination of the varied values; one that is empty where nothing varies."""
        for values in product(*self.vary.values()):
            yield dict(zip(self.vary, values, strict=True))


@dataclass(frozen=True, config=STRICT)
class Figure:
    """A picture of one value: over `x`, a curve or bar for each of `lines`, in panels.

    In a heat map the value is the colour over `x` and `y`, and there are no lines.
    """

    kind: Literal["curves", "bars", "heat map"]
    x: str
    value: str
    y: str = ""
    lines: list[str] = field(default_factory=list)
    panels: list[str] = field(default_factory=list)
    normalised: bool = False  # each column of a heat map from its worst row to its best

    def __post_init__(self) -> None:
        if bool(self.y) != (self.kind == "heat map"):
            raise ValueError("a heat map has a y, and nothing else has one")
        if self.normalised and not self.y:
            raise ValueError("normalised says of a heat map's columns; this is none")

    def axes(self) -> list[str]:
        """What places a value in the picture."""
        return list(filter(None, [*self.panels, *self.lines, self.y, self.x]))


@dataclass(frozen=True, config=STRICT)
class Ours:
    """What answers to a printed number: of a method's means over the figure's x.

    The x of the best or worst mean, their range, a method's lead over an `other`, or the best value
    itself; `at` one x where that is said.
    """

    take: Literal["best", "worst", "range", "lead", "value"]
    of: str
    other: str = ""
    at: float | str | None = None
    value: str = "accuracy"

    def __post_init__(self) -> None:
        if bool(self.other) != (self.take == "lead"):
            raise ValueError("a lead is over an other method, and nothing else has one")
        if self.value not in OUTCOMES:
            raise ValueError(str(unknown("value", self.value, OUTCOMES)))


@dataclass(frozen=True, config=STRICT)
class Printed:
    """A number that the paper prints about a figure."""

    what: str
    value: float
    unit: Literal["%", "s", "d", "x", "prompts"]
    ours: Ours | None = None  # None: nothing here answers to it


@dataclass(frozen=True, config=STRICT)
class Study:
    """One analysis of a paper."""

    title: str
    shows: str  # in the paper
    recipe: str
    grid: list[Grid]
    measure: list[str] = field(default_factory=list)
    tune: bool = False  # trials on validation data choose the rates first, over the recipe's grid
    search: dict[Literal["lr", "weight_decay"], list[float]] = field(default_factory=dict)
    against: list[str] = field(default_factory=list)  # methods that all are compared with
    table: str = ""  # the paper's layout that it fills
    figure: Figure | None = None
    printed: list[Printed] = field(default_factory=list)

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
            if not values or min(values) <= 0 or len(set(values)) < len(values):
                raise ValueError(f"search.{rate} needs values above 0, each once; {values} given")
        try:
            for name in self.measure:
                measurements.find(name)
            _require_drawable(self)
            _require_compared(self)
        except UserError as error:
            raise ValueError(str(error)) from None

    def varied(self) -> list[str]:
        """The fields that any grid varies, and what tasks stand for."""
        return list(dict.fromkeys(n for grid in self.grid for n in (*grid.vary, *grid.tasks_as)))

    def changed(self, variant: dict[str, Any]) -> dict[str, Any]:
        """What one combination of varied values changes of recipe and methods, all told."""
        return variant | ({"grid": self.search} if self.search else {})

    def source(self, value: str) -> str:
        """The measurement that gives a value; empty: the records do."""
        found = (name for name in self.measure if value in measurements.find(name).values)
        return next(found, "")


@dataclass(frozen=True)
class Named:
    """A study with its place."""

    name: str  # as it is asked for
    stem: str  # of its files below the results' folder of studies
    paper: str  # empty: none
    study: Study


def names() -> list[str]:
    """Every study of every paper."""
    return sorted(f"{p.parent.parent.name}/{p.stem}" for p in PAPERS.glob(f"*/{FOLDER}/*.toml"))


def load(name: str) -> Named:
    """The study called ``paper/study``, or the card at that path where it ends in .toml.

    Raises `UserError` for an unknown name and for a card that cannot be used.
    """
    if name.endswith(".toml"):
        path, study = Path(name), _read(Path(name))
        if study.table:
            raise UserError(f"{path} fills the table {study.table!r}: only a paper's study can")
        return Named(name, path.stem, "", study)
    if name not in names():
        raise unknown("study", name, names())
    paper, _, stem = name.partition("/")
    study = _read(PAPERS / paper / FOLDER / f"{stem}.toml")
    _require_table(paper, study)
    return Named(name, name, paper, study)


def _read(path: Path) -> Study:
    return cards.load(Study, "study", str(path), path.parent)


def _require_table(paper: str, study: Study) -> None:
    known = [table.id for table in layouts.load(paper).table]
    if study.table and study.table not in known:
        raise unknown(f"table of {paper}", study.table, known)


def _require_compared(study: Study) -> None:
    """Raise `UserError` for a comparison with what the study does not run."""
    methods = list(dict.fromkeys(name for grid in study.grid for name in grid.methods))
    answers = [one.ours for one in study.printed if one.ours]
    named = [*study.against, *(name for one in answers for name in (one.of, one.other) if name)]
    for name in named:
        if name not in methods:
            raise unknown("method of the study", name, methods)


def _require_drawable(study: Study) -> None:
    """Raise `UserError` for a figure of what the study has not."""
    if study.figure is None:
        return
    value = study.figure.value
    taken = [v for name in study.measure for v in measurements.find(name).values]
    if value not in (*OUTCOMES, *taken):
        raise unknown("value", value, [*OUTCOMES, *taken])
    source = study.source(value)
    places = measurements.find(source).columns if source else ()
    known = [*WHICH, *study.varied(), *places]
    for name in study.figure.axes():
        if name not in known:
            raise unknown("axis", name, known)
