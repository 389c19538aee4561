"""Requests for cells, and options of how to run them; a record or job names its request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from bench.config.bounds import Epochs, Given, Line, Plain, Seed, check_plain, real, whole
from bench.config.loading import hold_to_types, validate
from bench.config.suite import Split
from bench.records.schema import RATE_NAMES
from bench.utils.errors import UserError
from bench.utils.names import shorten

FINAL_SPLITS: tuple[Split, Split] = ("trainval", "test")  # trained on, evaluated on
TRIAL_SPLITS: tuple[Split, Split] = ("train", "val")


EXECUTORS = Literal["local", "ray", "slurm", "slurm-local"]


@dataclass(frozen=True)
class SearchPoint:
    """A point of the recipe's grid, with the epochs and splits of its cells."""

    point: dict[Line, Plain]
    epochs: Epochs
    learnt: Split  # trained on; both splits' names are recorded
    scored: Split  # evaluated on

    def __post_init__(self) -> None:
        hold_to_types(self, "the search point")
        for name in RATE_NAMES:
            if type(self.point.get(name)) not in (int, float):
                raise UserError(f"a search point needs a number as {name}")


@dataclass(frozen=True)
class Request:
    """The cells to run: of a suite or of a paper's study, or a selection of them.

    None and empty mean the suite's own choice. Raises `UserError` for values of other types, and
    for what no record could name.
    """

    suite: Given | None = None  # name of a suite, or its card
    methods: list[Given] = field(default_factory=list)  # names of methods
    backbones: list[Given] = field(default_factory=list)  # names of backbones, or cards
    tasks: list[Given] = field(default_factory=list)  # names of tasks
    seeds: list[Seed] = field(default_factory=list)  # one cell for each
    recipe: Given | None = None  # name of a recipe, or its card
    changes: dict[Line, Plain] = field(default_factory=dict)  # --set
    root: Path = Path("data")  # folder of the data
    variant: Line | None = None  # of prepared data; None: lossless, else a folder as found
    device: Line = "cpu"  # cpu, cuda or cuda:N
    tune: bool | None = None  # None: as the recipe says
    plugins: list[Given] = field(default_factory=list)  # the files, as they were named
    study: Given | None = None  # PAPER/STUDY or a card, in place of suite, methods and so on
    quick: bool = False  # the study over the suite mini and its backbones
    at: SearchPoint | None = None  # of the one method named; None: at the recipe's own rates
    fields_checked: bool = False  # with others: its fields were held to all their backbones

    def __post_init__(self) -> None:
        hold_to_types(self, "the request")
        try:
            check_plain(str(self.root))
        except ValueError:
            shown = shorten(str(self.root))
            raise UserError(f"the data root cannot be recorded: {shown}") from None


@dataclass(frozen=True)
class RunOptions:
    """Options of execution, which change no number of a cell; raises `UserError` as `Request`."""

    executor: EXECUTORS = "local"  # where cells run
    workers: Annotated[int, whole(0, 10_000)] | None = None  # None: as suits the device; 0: here
    per_gpu: Annotated[int, whole(1, 64)] = 1  # workers that share a GPU
    processes: Annotated[int, whole(1, 1_024)] = 1  # that train a cell together
    trials_per_pass: Annotated[int, whole(1, 256)] = 1  # that a worker trains together, at most
    timeout: Annotated[float, real(0, 1e8, is_above=True)] | None = None  # seconds for a cell
    retries: Annotated[int, whole(0, 1_000)] = 0  # further attempts at a failed cell
    fail_fast: bool = False  # start no other cell after one has failed
    force: bool = False  # run cells that have a record, too
    only: Literal["failed"] | None = None  # of the cells, those whose record is a failure
    checkpoint_every: Annotated[float, real(0, 1e8)] = 300.0  # seconds; 0: after each epoch
    limit_cells: Annotated[int, whole(1, 10**9)] | None = None  # run so many at most
    deterministic: bool = False  # use deterministic algorithms alone
    tensorboard: bool = False  # write each cell's training curves for TensorBoard
    address: Line | None = None  # of a Ray cluster
    slurm: Mapping[str, str] = field(default_factory=dict)  # options of sbatch
    plugins: Sequence[Path] = ()  # files of methods, which the workers load

    def __post_init__(self) -> None:
        hold_to_types(self, "the options of the run")


def request_from_json(names: Mapping[str, Any], root: Path, device: str) -> Request:
    """Rebuild the request for one cell from the names stored in a record or job.

    Raises `UserError` for names that no cell has.
    """
    absent = [name for name in CELL_NAMES if name not in names]
    if absent:
        raise UserError(f"the request of a cell names its {absent[0]}; this one does not")
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
        at=validate(SearchPoint, "the search point", at) if at else None,
        fields_checked=True,
    )


CELL_NAMES = ("suite", "method", "backbone", "task", "seed", "recipe", "changes")
