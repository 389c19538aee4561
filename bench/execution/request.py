"""What is asked for: by a command line, or by the names that a record and a worker's job carry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.config.suite import Split
from bench.records.trials import GridPoint

FINAL_SPLITS: tuple[Split, Split] = ("trainval", "test")  # learnt and scored
TRIAL_SPLITS: tuple[Split, Split] = ("train", "val")


@dataclass(frozen=True)
class SearchPoint:
    """A point of the recipe's grid, and what is done there."""

    point: GridPoint
    epochs: int
    learnt: Split
    scored: Split


@dataclass(frozen=True)
class Request:
    """What the command line asks for; None and empty mean the suite's own choice."""

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
    at: SearchPoint | None = (
        None  # of the one method named: its cells there; None: at the recipe's own rates
    )
    fields_checked: bool = False  # with others: its fields were held to all their backbones


def request_from_json(names: Mapping[str, Any], root: Path, device: str) -> Request:
    """The request for the one cell that a record's, or a job's, names stand for."""
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
