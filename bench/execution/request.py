"""Requests for cells, and options of how to run them; a record or job names its request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.config.suite import Split
from bench.records.schema import GridPoint

FINAL_SPLITS: tuple[Split, Split] = ("trainval", "test")  # trained on, evaluated on
TRIAL_SPLITS: tuple[Split, Split] = ("train", "val")


@dataclass(frozen=True)
class SearchPoint:
    """A point of the recipe's grid, with the epochs and splits of its cells."""

    point: GridPoint
    epochs: int
    learnt: Split  # trained on; both splits' names are recorded
    scored: Split  # evaluated on


@dataclass(frozen=True)
class Request:
    """The cells to run: of a suite or of a paper's study, or a selection of them.

    None and empty mean the suite's own choice.
    """

    suite: str | None = None
    methods: list[str] = field(default_factory=list)
    backbones: list[str] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    recipe: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)  # --set
    root: Path = Path("data")
    variant: str | None = None  # of prepared data; None: lossless, else a folder as found
    device: str = "cpu"
    tune: bool | None = None  # None: as the recipe says
    plugins: list[str] = field(default_factory=list)  # the files, as they were named
    study: str | None = None  # PAPER/STUDY or a card, in place of suite, methods and so on
    quick: bool = False  # the study over the suite mini and its backbones
    at: SearchPoint | None = None  # of the one method named; None: at the recipe's own rates
    fields_checked: bool = False  # with others: its fields were held to all their backbones


@dataclass(frozen=True)
class RunOptions:
    """Options of execution, which change no number of a cell."""

    executor: str = "local"  # or ray, slurm, slurm-local
    workers: int | None = None  # None: one per GPU, or one; 0: in this process
    per_gpu: int = 1  # workers that share a GPU
    processes: int = 1  # that train a cell together
    timeout: float | None = None  # seconds that a cell may take
    retries: int = 0  # further attempts at a failed cell
    fail_fast: bool = False  # start no other cell after one has failed
    force: bool = False  # run cells that have a record, too
    only: Literal["failed"] | None = None  # of the cells, those whose record is a failure
    limit_cells: int | None = None  # run so many at most
    tensorboard: bool = False  # write each cell's training curves for TensorBoard
    address: str | None = None  # of a Ray cluster
    slurm: Mapping[str, str] = field(default_factory=dict)  # options of sbatch
    plugins: Sequence[Path] = ()  # files of methods, which the workers load


def request_from_json(names: Mapping[str, Any], root: Path, device: str) -> Request:
    """Rebuild the request for one cell from the names stored in a record or job."""
    at = names.get("at")
    return Request(
        suite=names["suite"],
        methods=[names["method"]],
        backbones=[names["backbone"]],
        tasks=[names["task"]],
        seeds=[names["seed"]],
        recipe=names["recipe"],
        changes=names["changes"],
        root=root,
        variant=names.get("variant"),
        device=device,
        plugins=names.get("plugins", []),
        at=SearchPoint(**at) if at else None,
        fields_checked=True,
    )
