"""Suite cards: tasks, their splits and labels, and further test sets; sources are in `source`."""

from dataclasses import asdict, field, replace
from functools import cached_property
from typing import Literal, get_args

from pydantic import ValidationError
from pydantic.dataclasses import dataclass

from bench.config import shift_rules
from bench.config.bounds import (
    Classes,
    Count,
    Flag,
    InnerPath,
    Line,
    Name,
    NameOrPath,
    Percent,
    Pixels,
    Real,
    Seed,
    Text,
    Version,
    Whole,
    WholePercent,
)
from bench.config.loading import SUITES_DIR, describe_invalid, load_card
from bench.config.shift_rules import repeated
from bench.config.shots import Draw, Shots, dataset_name, expand_task, require_drawable, shots_name
from bench.config.source import SOURCES_DIR as SOURCES_DIR
from bench.config.source import Source as Source
from bench.config.source import SourceFile as SourceFile
from bench.config.source import card_folder as card_folder
from bench.config.source import load_source as load_source
from bench.records.schema import STRICT
from bench.utils.errors import UserError, unknown_name

Split = Literal["train", "val", "trainval", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
DISJOINT_SPLITS: tuple[Split, ...] = ("train", "val", "test")  # trainval is the first two


@dataclass(frozen=True, config=STRICT)
class SourceKeys:
    """The keys of the records of one split of a source."""

    template: Line  # of numbered records: CLEVR_train_{index:06d}.png; empty: named by their files
    counts: list[Count]  # the numbers of records allowed


@dataclass(frozen=True, config=STRICT)
class HashRange:
    """A sample of a source's records: a range of ranks in the order of their keys' hashes."""

    source: Name  # the source's split; its name salts the hash
    first: Count
    last: Count  # exclusive
    digest: Line = ""  # of the keys in that order; empty: unknown
    labels: Line = ""  # digest of their classes in that order; empty: unknown
    histogram: Line = ""  # digest of the number of images of each class, ascending
    interleaved: Flag = False  # copies in circulation list the records in another order
    after_percent: WholePercent = 0  # of the records are skipped before ranks are counted


@dataclass(frozen=True, config=STRICT)
class ClassShare:
    """A stratified sample of a source's records; smaller shares are subsets of larger ones.

    The records of each class are ordered by the hash of their keys, and classes are interleaved in
    proportion to their sizes; a share is the range between two percentages.
    """

    source: Name
    first: Percent
    last: Percent
    salt: Line  # another salt, another sample


@dataclass(frozen=True, config=STRICT)
class LabelRule:
    """The steps from a record's annotation to its class; those not set are skipped."""

    fact: Line  # the annotation, as the source's reader names it
    subtract: Whole = 0
    divide: Real = 0  # then rounded down
    modulo: Count = 0
    above: list[Real] = field(default_factory=list)  # bin edges: class i is above edge i
    ranked: Flag = False  # the rank among the distinct values over all splits of the source
    listed: InnerPath = ""  # a published list: its label of the images in a folder of that name


@dataclass(frozen=True, config=STRICT)
class Task:
    """A data set with splits and a number of classes."""

    name: Name
    group: Line
    classes: Classes
    title: Line = ""
    embedded: Line = ""  # a task of bench.data.embedded; empty: data on disk
    folder: InnerPath = ""  # in the data root; empty: the task's name
    images: InnerPath = ""  # the sub-folder that paths in the lists are relative to
    counts: dict[Split, list[Count]] = field(default_factory=dict)  # images allowed in each split
    source: InnerPath = ""  # a card in datasets/sources, or a file in the suite card's folder
    pixels: Pixels = field(default_factory=list)  # height and width of a synthetic image: typical
    label: LabelRule | None = None
    keys: dict[Line, SourceKeys] = field(default_factory=dict)  # by split of the source
    ranks: dict[Split, HashRange] = field(default_factory=dict)  # or members, or shares
    members: dict[Split, InnerPath] = field(default_factory=dict)  # a list file of the source
    shares: dict[Split, ClassShare] = field(default_factory=dict)
    present: dict[Split, Count] = field(
        default_factory=dict
    )  # classes present in a split, if known
    repeats: Flag = False  # published with test images that repeat training images
    shifts: list[Name] = field(default_factory=list)  # further test sets, by their names
    draw: Draw | None = None  # of a few-shot task: what it is trained on

    def __post_init__(self) -> None:
        if self.source and (not self.label or not (self.ranks or self.members or self.shares)):
            raise ValueError("a source needs a label, and ranks, members or shares")

    @property
    def few_shot(self) -> dict[str, int]:
        """The draw as records have it; empty: the task has all its images."""
        return asdict(self.draw) if self.draw else {}

    @property
    def dataset(self) -> str:
        """The data set that a few-shot task is drawn from; else the task's name."""
        return dataset_name(self.name, self.few_shot) if self.draw else self.name

    def listed_as(self, split: Split) -> Split:
        """Return the split that has the images: few shots are trained on alone, without val."""
        return "train" if self.draw and split == "trainval" else split


@dataclass(frozen=True, config=STRICT)
class Shift:
    """A further test set of some tasks, from another distribution; nothing is trained on it."""

    name: Name
    title: Line = ""
    classes: list[Count] | None = None  # that scores are masked to; None: all of the task's
    drawn: Line = ""  # of bench.data.drawn.shifts: the task's own test images, changed
    strengths: list[Count] = field(default_factory=list)  # of what is drawn: a set for each
    folder: InnerPath = ""  # this and the rest: as of a task, of data on disk
    images: InnerPath = ""
    counts: list[Count] = field(default_factory=list)
    source: InnerPath = ""
    pixels: Pixels = field(default_factory=list)
    label: LabelRule | None = None
    keys: dict[Line, SourceKeys] = field(default_factory=dict)
    members: InnerPath = ""  # a list file of the source, or a published list

    def __post_init__(self) -> None:
        if bool(self.drawn) != bool(self.strengths):
            raise ValueError(f"the shift {self.name!r} needs drawn and strengths, or neither")
        if self.drawn and (self.source or self.folder):
            raise ValueError(f"the shift {self.name!r} is drawn, so it has no folder and no source")
        if self.classes == []:
            raise ValueError(f"the shift {self.name!r} has an empty list of classes: leave it out")
        if again := repeated(self.classes or []) or repeated(self.strengths):
            raise ValueError(f"the shift {self.name!r} names {again[0]} twice")

    def expanded(self) -> "list[Shift]":
        """Return the test sets: one, or ``<name>_<strength>`` for each strength."""
        if not self.drawn:
            return [self]
        return [replace(self, name=f"{self.name}_{n}", strengths=[n]) for n in self.strengths]

    def as_task(self, task: Task) -> Task:
        """Return the task that has this set as its test split, with the classes of `task`."""
        return Task(
            name=self.name,
            group=task.group,
            classes=task.classes,
            title=self.title,
            folder=self.folder,
            images=self.images,
            counts={"test": self.counts} if self.counts else {},
            source=self.source,
            pixels=self.pixels,
            label=self.label,
            keys=self.keys,
            members={"test": self.members} if self.members else {},
            present={"test": len(self.classes)} if self.classes and self.source else {},
        )


@dataclass(frozen=True, config=STRICT)
class Selection:
    """The methods, backbones, seeds and tasks that run by default."""

    methods: list[Line]
    backbones: list[NameOrPath]
    seeds: list[Seed]
    tasks: list[Line] = field(default_factory=list)  # empty: all

    def __post_init__(self) -> None:
        for kind in ("methods", "backbones", "seeds"):
            if not getattr(self, kind):
                raise ValueError(f"{kind} must name at least one")


@dataclass(frozen=True, config=STRICT)
class Suite:
    """Tasks under one protocol."""

    name: Name
    title: Line
    version: Version  # raised when a split changes: tables never mix versions
    recipe: NameOrPath
    default: Selection
    task: list[Task]
    demo: Selection | None = None  # of a bare `run`
    folder: InnerPath = ""  # in the data root
    home: Text = ""  # where to get the data, for messages about missing data
    lists: dict[Split, list[InnerPath]] = field(default_factory=dict)  # list files of each split
    shift: list[Shift] = field(default_factory=list)  # further test sets, which tasks name
    shots: Shots | None = None  # makes each task of the card several

    def __post_init__(self) -> None:
        if twice := repeated(task.name for task in self.task):
            raise ValueError(f"the task {twice[0]!r} is listed twice")
        shift_rules.check_shifts(self)
        absent = [split for split in ("trainval", "test") if not self.lists.get(split)]
        if absent and not all(task.embedded or task.source for task in self.task):
            raise ValueError(f"lists names no file for {absent[0]}")
        if self.lists and (self.shots or any(task.draw for task in self.task)):
            raise ValueError("lists are of whole tasks; those of shots stand in a task's members")
        for task in self.task if self.shots else ():
            require_drawable(task)

    def groups(self) -> list[str]:
        """List the groups in the order of the card."""
        return list(dict.fromkeys(task.group for task in self.task))

    def find(self, name: str) -> Task:
        """Return the task called `name`; raise `UserError` for an unknown name."""
        if name not in self._by_name:
            raise unknown_name(f"task of suite {self.name!r}", name, self._by_name)
        return self._by_name[name]

    def shifts_of(self, task: Task) -> list[Shift]:
        """Return the further test sets of a task, in the order that it names them."""
        known = {shift.name: shift for shift in self.shift}
        return [one for name in task.shifts for one in known[name].expanded()]

    def prepared_tasks(self) -> list[Task]:
        """Return the tasks, and each shift on disk as a task that has a test split alone."""
        shifts = {
            shift.name: shift.as_task(task)
            for task in self.task
            for shift in self.shifts_of(task)
            if not shift.drawn
        }
        return [*self.task, *shifts.values()]

    def find_prepared(self, name: str) -> list[Task]:
        """Return the tasks of that name as `find_all` does, or the shift of that name as a task."""
        shifts = {task.name: task for task in self.prepared_tasks()[len(self.task) :]}
        return [shifts[name]] if name in shifts else self.find_all(name)

    def find_all(self, name: str) -> list[Task]:
        """Return a task, or the few-shot tasks of a data set, or those of a number of shots.

        The names of the latter are as ``food101`` and ``food101_16shot``. Raises `UserError`.
        """
        return self._drawn_by_name.get(name) or [self.find(name)]

    @cached_property
    def _by_name(self) -> dict[str, Task]:
        return {task.name: task for task in self.task}

    @cached_property
    def _drawn_by_name(self) -> dict[str, list[Task]]:
        found: dict[str, list[Task]] = {}
        for task in self.task:
            if task.draw:
                for name in (task.dataset, shots_name(task.dataset, task.draw.shots)):
                    found.setdefault(name, []).append(task)
        return found


def load_suite(name: str) -> Suite:
    """Load a suite by name, or from the card at that path, with the tasks that its shots make."""
    card = load_card(Suite, "suite", name, SUITES_DIR)
    if card.shots is None:
        return card
    try:
        tasks = [drawn for task in card.task for drawn in expand_task(task, card.shots)]
        return replace(card, task=tasks, shots=None)
    except ValidationError as error:  # a name that the numbers make too long
        raise UserError(describe_invalid(Suite, f"the shots of suite {name}", error)) from None
