"""The entries of records and measurements as files may have them: their forms and bounds."""

import re
from math import isfinite
from typing import Annotated, Any, Literal

from bench.records.markers import Checked, Items, Real, Table, Text, Whole
from bench.utils import names
from bench.utils.names import MAX_CLASSES, MAX_EPOCHS, MAX_SEED, shorten

MAX_IMAGES = 1_000_000  # of a split; iNaturalist's test split has 100,000
MAX_PARAMETERS = 10**12
MAX_SECONDS = 1e9  # 30 years
MAX_TRIALS = 10_000
MAX_WORDS = 1_000  # characters of a text in a plain table
MAX_MESSAGE, MAX_TRACEBACK = 4_000, 100_000  # characters
MAX_DEPTH = 6  # of the tables and lists in a method's field or a change
MAX_WHOLE = 2**63  # exclusive, of a whole number in a plain table

PROMPTS_FROM = "prompts_from"  # a method's field: the task whose images initialise the prompts
RATE_NAMES = ("lr", "weight_decay")
TUNING_KEY = "tuning"  # in a recorded recipe: how the search went
OWN_GRIDS_KEY = "grid_of"  # in its search: the grid of the method's own, by its name
SCORED_SPLIT_KEY = "scored"  # in a trial's recorded recipe: the split, which is not test

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
LINE = r"[^\x00-\x1f\x7f-\x9f]*"
NAMED = r"[^-\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*"  # no option of a command line
HASH = "[0-9a-f]{64}"
DIGESTS = "[0-9a-f]{1,64}(-[0-9a-f]{1,64})?"

Name = Annotated[str, Text(names.NAME.pattern)]
BackboneName = Annotated[str, Text(names.BACKBONE_NAME.pattern)]
Line = Annotated[str, Text(LINE, MAX_WORDS)]
NameOrPath = Annotated[str, Text(NAMED, 4_096)]
EpochKey = Annotated[str, Text("[1-9][0-9]{0,5}")]
CellName = Annotated[str, Text("[0-9a-f]{16}")]
HashOrEmpty = Annotated[str, Text(f"({HASH})?")]
WeightsHash = Annotated[str, Text(f"{HASH}|random")]
CodeHash = Annotated[str, Text(f"({HASH}( {LINE})?)?", MAX_WORDS)]  # also of an installed plug-in
SplitName = Annotated[str, Text(f"({names.NAME.pattern}:)?{DIGESTS}", 300)]
StartSplitName = Annotated[str, Text(f"(({names.NAME.pattern}:)?{DIGESTS})?", 300)]
Message = Annotated[str, Text(r"[^\x00]*", MAX_MESSAGE)]
Traceback = Annotated[str, Text(r"[^\x00]*", MAX_TRACEBACK)]

Version = Annotated[int, Whole(0, 10**6)]
Classes = Annotated[int, Whole(1, MAX_CLASSES)]
Seed = Annotated[int, Whole(0, MAX_SEED)]
Epochs = Annotated[int, Whole(1, MAX_EPOCHS)]
EpochsOrNone = Annotated[int, Whole(0, MAX_EPOCHS)]
Images = Annotated[int, Whole(1, MAX_IMAGES)]
ImagesOrNone = Annotated[int, Whole(0, 1000 * MAX_IMAGES)]  # looked at, again and again
Parameters = Annotated[int, Whole(0, MAX_PARAMETERS)]
Bytes = Annotated[int, Whole(0, 16 * MAX_PARAMETERS)]
Percent = Annotated[float, Real(0, 100)]
Seconds = Annotated[float, Real(0, MAX_SECONDS)]
Mebibytes = Annotated[float, Real(0, 1e9)]
Finite = Annotated[float, Real()]
NotNegative = Annotated[float, Real(0)]


def check_plain(value: Any, depth: int = 0) -> Any:
    """Return a value that is plain: text, a finite number, None, or lists and tables of these.

    Raises `ValueError` for control characters, and for what is beyond the bounds.
    """
    if isinstance(value, str):
        _require_words(value)
    elif isinstance(value, float):
        if not isfinite(value):
            raise ValueError("holds a number that is not finite")
    elif isinstance(value, int):  # bool among them
        if not -MAX_WHOLE < value < MAX_WHOLE:
            raise ValueError(f"holds {shorten(value)}; 64 bits were expected")
    elif value is not None:
        if depth > MAX_DEPTH:
            raise ValueError(f"is nested more than {MAX_DEPTH} deep")
        for one in value:  # of a table, its names
            check_plain(one, depth + 1)
        if isinstance(value, dict):
            check_plain(list(value.values()), depth)
    return value


def _require_words(text: str) -> None:
    plain = text.isprintable() or not CONTROL.search(text)  # the former is much faster
    if not plain or len(text) > MAX_WORDS:
        raise ValueError(
            f"holds {shorten(text)}; at most {MAX_WORDS:,} characters, none of them of control, "
            "were expected"
        )


PlainTable = Annotated[dict[str, Any], Checked(check_plain)]


def _check_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Check a method's fields; the task whose images initialise prompts is a name."""
    check_plain(fields)
    source = fields.get(PROMPTS_FROM, "none")
    if problem := names.name_problem(source):
        raise ValueError(f"{PROMPTS_FROM}: {problem}")
    return fields


Fields = Annotated[dict[str, Any], Checked(_check_fields)]


def _check_point(point: dict[str, Any]) -> dict[str, Any]:
    """Check a grid point: the rates, and fields of the method."""
    check_plain(point)
    for name in RATE_NAMES:
        rate = point.get(name)
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not rate >= 0:
            raise ValueError(f"{name} should be a number of 0 or above, not {shorten(rate)}")
    return point


Point = Annotated[dict[str, Any], Checked(_check_point)]
Rates = Annotated[dict[str, float], Table({"lr": NotNegative, "weight_decay": NotNegative})]


def _require_both(draw: dict[str, Any]) -> dict[str, Any]:
    """Check a few-shot task's draw, which has shots and a list's number or is empty."""
    if len(draw) == 1:
        raise ValueError(f"has {next(iter(draw))} alone; shots and list were expected, or neither")
    return draw


FewShot = Annotated[
    dict[str, int],
    Table(optional={"shots": Annotated[int, Whole(1, MAX_IMAGES)], "list": Seed}),
    Checked(_require_both),
]

Channels = Annotated[list[Finite], Items(3, 3)]
Input = Annotated[
    dict[str, Any],
    Table(
        {"size": Annotated[int, Whole(1, 100_000)], "pooling": Name},
        {
            "mean": Channels,
            "std": Channels,
            "timm": Line,
            "architecture": PlainTable,
            "state_dict": Line,  # of several in the weights file, where it was chosen
        },
    ),
]

Normalisation = Literal["backbone", "imagenet", "none"]
Grid = Annotated[dict[str, Any], Table(optional=dict.fromkeys(RATE_NAMES, list[NotNegative]))]
GridOf = Annotated[dict[str, dict[str, list[Any]]], Checked(check_plain)]
Rung = Annotated[list[Epochs], Items(2, 2)]  # points, and the epochs of each
Search = Annotated[
    dict[str, Any],
    Table(
        {"trials": Annotated[int, Whole(1, MAX_TRIALS)], "seed": Seed, "grid": Grid}
        | {OWN_GRIDS_KEY: GridOf},
        {"halving": Annotated[list[Rung], Items(1, 10)]},
    ),
]
Views = Annotated[dict[str, Any], Table({"train": Name, "test": Name}, {"interpolation": Name})]
Recipe = Annotated[
    dict[str, Any],
    Table(
        {"name": Name, "version": Version, "epochs": Epochs},
        {
            "optimiser": Name,
            "lr": NotNegative,
            "weight_decay": NotNegative,
            "head_weight_decay": NotNegative,
            "batch": Annotated[int, Whole(1, MAX_IMAGES)],
            "warmup_epochs": EpochsOrNone,
            "min_lr": NotNegative,
            "normalisation": Normalisation,
            "head_init": Name,
            "pooled_norm": Name,
            "test_evaluations": Epochs,
            "precision": Name,
            "lr_per_batch": Annotated[int, Whole(0, MAX_IMAGES)],
            "train_share": Annotated[float, Real(0, 1)],
            "compile": bool,
            "view": Views,
            TUNING_KEY: Search,
            SCORED_SPLIT_KEY: Name,
        },
    ),
]

SearchPoint = Annotated[
    dict[str, Any], Table({"point": Point, "epochs": Epochs, "learnt": Name, "scored": Name})
]
NEEDED_NAMES = ("suite", "method", "backbone", "task", "seed", "recipe", "changes")


def _require_whole(request: dict[str, Any]) -> dict[str, Any]:
    absent = [name for name in NEEDED_NAMES if name not in request]
    if request and absent:
        raise ValueError(
            f"should have {', '.join(NEEDED_NAMES)}, or be empty; {absent[0]} is missing"
        )
    return request


Request = Annotated[
    dict[str, Any],
    Table(
        optional={
            "suite": NameOrPath,
            "method": Name,
            "backbone": NameOrPath,
            "task": Name,
            "seed": Seed,
            "recipe": NameOrPath | None,
            "changes": PlainTable,
            "variant": Name | None,
            "data_root": NameOrPath,
            "plugins": Annotated[list[NameOrPath], Items(0, 100)],
            "at": SearchPoint,
        }
    ),
    Checked(_require_whole),
]


def _check_environment(about: dict[str, Any]) -> dict[str, Any]:
    """Check an environment: one line a value, or a list of lines."""
    for name, value in about.items():
        if isinstance(value, dict):
            raise ValueError(f"{ascii(name)[:60]} should be no table")
    plain = "".join([*about, *(v for v in about.values() if isinstance(v, str))])
    if not plain.isprintable() or len(plain) > MAX_WORDS:  # all at once is much faster
        return check_plain(about, MAX_DEPTH - 1)
    check_plain([v for v in about.values() if not isinstance(v, str)], MAX_DEPTH - 1)
    return about


Environment = Annotated[
    dict[str, Any],
    Table(
        optional={
            "commit": Annotated[str, Text("([0-9a-f]{7,64})?")],
            "dirty": bool,
            "device": Name,
            "device_name": Line,
            "threads": Annotated[int, Whole(1, 10**6)],
            "started": Line,
            "seconds": Seconds,
            "data_warnings": Annotated[list[Line], Items(0, MAX_WORDS)],
            "checkpoint_problems": Annotated[list[Line], Items(0, MAX_WORDS)],
            "resumed_after_epochs": Annotated[list[Epochs], Items(0, MAX_EPOCHS)],
            "seconds_before_resuming": Seconds,
        },
        others="allow",
    ),
    Checked(_check_environment),
]
