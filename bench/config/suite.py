"""A task's card: its classes, and how its splits and labels come out of a source's records."""

from dataclasses import field
from typing import Literal, get_args

from pydantic.dataclasses import dataclass

from bench.config.loading import SUITES_DIR, load_card
from bench.records.schema import STRICT
from bench.utils.errors import unknown_name

Split = Literal["train", "val", "trainval", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
DISJOINT_SPLITS: tuple[Split, ...] = ("train", "val", "test")  # trainval is the first two


@dataclass(frozen=True, config=STRICT)
class SourceKeys:
    """What the records of one split of a source are called."""

    template: str  # of its numbered records: CLEVR_train_{index:06d}.png; empty: by their files
    counts: list[int]  # how many records there may be


@dataclass(frozen=True, config=STRICT)
class HashRange:
    """Which records of a source a split takes: those of these ranks by the hash of their keys."""

    source: str  # the source's split, whose name salts the hash
    first: int
    last: int  # one beyond
    digest: str = ""  # of the keys in that order; empty: not known
    labels: str = ""  # of their classes in that order, likewise
    histogram: str = ""  # of their classes, ascending: how many images each has
    interleaved: bool = False  # whether the field's copies have the records in another order
    after_percent: int = 0  # of the records, from where the ranks count


@dataclass(frozen=True, config=STRICT)
class ClassShare:
    """Which records a split takes: a share of every class, so that smaller shares are in larger.

    The records of a class stand by the hash of their keys, and classes take turns in proportion to
    their sizes; a share is what stands between two percentages.
    """

    source: str
    first: float  # percent
    last: float
    salt: str  # another salt, another sample


@dataclass(frozen=True, config=STRICT)
class LabelRule:
    """How a record's annotation becomes its class: each step is left out where it is not set."""

    fact: str  # the annotation, as the source's format names it
    subtract: int = 0
    divide: float = 0  # then rounded down
    modulo: int = 0
    above: list[float] = field(default_factory=list)  # class i: above the i-th, not the next
    ranked: bool = False  # the place among all values of the source's records, over all its splits


@dataclass(frozen=True, config=STRICT)
class Task:
    """A data set with splits and a class count."""

    name: str
    group: str
    classes: int
    title: str = ""
    embedded: str = (
        ""  # the function of bench.data.builtin_tasks that makes it; empty: it lies on disk
    )
    folder: str = ""  # below the data root; empty: the task's name
    images: str = ""  # below the folder: where the paths in the lists begin
    counts: dict[Split, list[int]] = field(default_factory=dict)  # images allowed in each split
    source: str = ""  # the card in datasets/sources, or beside the suite's, that it is made from
    label: LabelRule | None = None
    keys: dict[str, SourceKeys] = field(default_factory=dict)  # of each split of the source
    ranks: dict[Split, HashRange] = field(default_factory=dict)  # or members, or shares
    members: dict[Split, str] = field(default_factory=dict)  # a list file of the source
    shares: dict[Split, ClassShare] = field(default_factory=dict)
    present: dict[Split, int] = field(default_factory=dict)  # classes that a split holds, if known
    repeats: bool = False  # whether it was published with test images that repeat training images

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise ValueError(f"classes must be above 0; {self.classes} was given")
        if self.source and (not self.label or not (self.ranks or self.members or self.shares)):
            raise ValueError("a source needs a label, and ranks, members or shares")


@dataclass(frozen=True, config=STRICT)
class Selection:
    """What is run where the command line does not say."""

    methods: list[str]
    backbones: list[str]
    seeds: list[int]
    tasks: list[str] = field(default_factory=list)  # empty: all

    def __post_init__(self) -> None:
        for kind in ("methods", "backbones", "seeds"):
            if not getattr(self, kind):
                raise ValueError(f"{kind} must name at least one")


@dataclass(frozen=True, config=STRICT)
class Suite:
    """Tasks under one protocol."""

    name: str
    title: str
    version: int  # raised when a split changes: tables never mix versions
    recipe: str
    default: Selection
    task: list[Task]
    demo: Selection | None = None  # what a bare `run` does
    folder: str = ""  # below the data root
    home: str = ""  # where to get the data: named when they are absent
    lists: dict[Split, list[str]] = field(default_factory=dict)  # list files a split

    def __post_init__(self) -> None:
        names = [task.name for task in self.task]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the task {twice[0]!r} stands twice")
        absent = [split for split in ("trainval", "test") if not self.lists.get(split)]
        if absent and not all(task.embedded or task.source for task in self.task):
            raise ValueError(f"lists names no file for {absent[0]}")

    def groups(self) -> list[str]:
        """The groups in the order of the card."""
        return list(dict.fromkeys(task.group for task in self.task))

    def find(self, name: str) -> Task:
        """The task called `name`."""
        for task in self.task:
            if task.name == name:
                return task
        raise unknown_name(f"task of suite {self.name!r}", name, [task.name for task in self.task])


def load_suite(name: str) -> Suite:
    """The suite called `name`, or the one of the card at that path."""
    return load_card(Suite, "suite", name, SUITES_DIR)
