"""The rows of a board: a method's accuracies on the tasks shown, with their means."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import search
from bench.records import Outcome, Record
from bench.report.grouping import canonical, differences, gather
from bench.report.text import NONE, on

CHOSEN = "chosen for each task"
CODE = 12  # characters shown of a plug-in's code


@dataclass(frozen=True)
class Cell:
    """What the seeds of one method gave on one task."""

    accuracies: dict[int, float]  # seed -> top-1 percent
    gains: dict[int, float]  # seed -> what the best epoch on test would have added, an oracle
    failed: int = 0
    unsupported: int = 0
    names: dict[int, str] = field(default_factory=dict)  # seed -> the cell of its record

    @property
    def mean(self) -> float:
        return fmean(self.accuracies.values())

    @property
    def sd(self) -> float | None:
        return spread(self.accuracies.values())


@dataclass(frozen=True)
class Means:
    """The means of a complete row, each over the tasks shown."""

    by_group: dict[str, float]
    over_tasks: float
    over_groups: float  # of `by_group`: every group counts the same
    sd: float | None  # sample sd over seeds of the mean over tasks; None: one seed


@dataclass(frozen=True)
class Row:
    """A method with its fields: one line of a board."""

    label: str  # the method's name; of one with changed fields, with those that tell it apart
    method: str
    fields: dict[str, Any]  # with words for one that was chosen for each task
    rates: dict[str, float]  # learning rate and weight decay; empty: chosen for each task
    cells: dict[str, Cell]  # task -> cell, for every task shown
    seeds: list[int]  # of the complete row; of an incomplete one, all that gave a result
    method_params: float | None  # mean over tasks, head left out; None: no result
    head_params: float | None  # mean over tasks
    init_seconds: float | None  # mean over tasks and seeds
    train_seconds: float | None  # mean over tasks and seeds
    machine: str  # where all its cells ran; empty: on several, so that its times mean little
    means: Means | None  # None: the row is incomplete
    remark: str  # the method's footnote, or empty

    @property
    def values(self) -> NDArray[np.float64]:
        """The accuracies (T, S) of a complete row: tasks as shown, seeds as in `seeds`."""
        return np.array([list(cell.accuracies.values()) for cell in self.cells.values()])


def rows_of(records: list[Record], groups: dict[str, list[str]]) -> list[Row]:
    """The rows of one board's records, by label; `groups` names the tasks shown of each."""
    rows = []
    for method, of_method in sorted(gather(records, lambda r: r.settings.method).items()):
        found = [alike for _, alike in sorted(_variants(of_method).items())]
        plain = [alike for alike in found if _as_registered(alike)]
        for alike, named in zip(found, differences(_tables(found)), strict=True):
            alone = not named or plain == [alike]
            rows.append(_row(method if alone else f"{method}[{named}]", alike, groups))
    return sorted(rows, key=lambda row: row.label)


def _as_registered(records: list[Record]) -> bool:
    """Whether no run of these had a field of the method changed."""
    changed = {name for record in records for name in record.request.get("changes", {})}
    return not changed & records[0].settings.fields.keys()


def table_of(rows: Sequence[Row]) -> NDArray[np.float64]:
    """The means over seeds (T, K) of complete rows of one board."""
    return np.stack([row.values.mean(axis=1) for row in rows], axis=1)


def spread(values: Iterable[float]) -> float | None:
    """The sample standard deviation, or None for fewer than two values."""
    listed = list(values)
    return stdev(listed) if len(listed) > 1 else None


def _tables(variants: list[list[Record]]) -> list[dict[str, Any]]:
    """What may tell the variants of a method apart: fields, and rates where these do not."""
    fields = [{**alike[0].settings.fields, **_code(alike[0])} for alike in variants]
    if len({canonical(table) for table in fields}) == len(variants):
        return fields
    return [{**_rates(a), **table} for a, table in zip(variants, fields, strict=True)]


def _code(record: Record) -> dict[str, str]:
    """The first digits of the code of a plug-in's method; of the project's own, nothing."""
    return {"code": record.settings.code[:CODE]} if record.settings.code else {}


def _rates(records: list[Record]) -> dict[str, float]:
    """The rates of all the records; empty where they differ from task to task."""
    first = records[0].settings.rates
    return first if all(record.settings.rates == first for record in records) else {}


def _fields(records: list[Record]) -> dict[str, Any]:
    """The fields of all the records; of one that was chosen for each task, these words."""
    first = records[0].settings.fields
    differ = {k for k in first if any(r.settings.fields.get(k) != first[k] for r in records)}
    return {k: CHOSEN if k in differ else v for k, v in first.items()}


def _variants(records: list[Record]) -> dict[str, list[Record]]:
    """The records of a method by its fields; where a task was run at several points, by those too.

    A point is the rates, with the fields that trials choose. Points that differ only from task to
    task were chosen for each: they stay in one row.
    """
    variants: dict[str, list[Record]] = {}
    for fields, alike in gather(records, lambda r: canonical(_set(r))).items():
        chosen = {(r.settings.task, canonical(_point(r))) for r in alike}
        several = len(chosen) > len({task for task, _ in chosen})
        for point, found in gather(alike, lambda r: canonical(_point(r))).items():
            variants.setdefault(fields + (point if several else ""), []).extend(found)
    return variants


def _set(record: Record) -> dict[str, Any]:
    """The fields that no trial chose, and the code of a plug-in's method."""
    s = record.settings
    fields = {k: v for k, v in s.fields.items() if k not in search.searched(s)}
    return {**fields, **({"code": s.code} if s.code else {})}


def _point(record: Record) -> dict[str, Any]:
    """The rates, and the fields that trials chose."""
    s = record.settings
    return {**s.rates, **{k: s.fields.get(k) for k in search.searched(s)}}


def _row(label: str, records: list[Record], groups: dict[str, list[str]]) -> Row:
    by_task = gather(records, lambda record: record.settings.task)
    cells = {t: _cell(by_task.get(t, [])) for tasks in groups.values() for t in tasks}
    outcomes = {t: [r.outcome for r in found if r.outcome] for t, found in by_task.items()}
    return Row(
        label=label,
        method=records[0].settings.method,
        fields=_fields(records),
        rates=_rates(records),
        cells=cells,
        seeds=sorted({seed for cell in cells.values() for seed in cell.accuracies}),
        method_params=_mean_over_tasks(outcomes, "method_params"),
        head_params=_mean_over_tasks(outcomes, "head_params"),
        init_seconds=_mean_over_all(outcomes, "init_seconds"),
        train_seconds=_mean_over_all(outcomes, "train_seconds"),
        machine=_machine(records),
        means=_means(cells, groups) if _complete(cells) else None,
        remark=max(record.remark for record in records),
    )


def _cell(records: list[Record]) -> Cell:
    ended = Counter(record.failure.kind for record in records if record.failure)
    found = {r.settings.seed: r.outcome.accuracy for r in records if r.outcome}
    gains = {r.settings.seed: _gain(r.outcome) for r in records if r.outcome}
    names = {r.settings.seed: r.cell for r in sorted(records, key=lambda r: r.settings.seed)}
    ended_badly = ended["failed"], ended["unsupported"]
    return Cell(dict(sorted(found.items())), gains, *ended_badly, names)


def machine(record: Record) -> str:
    """The device that a record ran on, and its threads."""
    about = record.environment
    return on(about.get("device_name", NONE), about.get("threads", NONE))


def _machine(records: Iterable[Record]) -> str:
    """The device and its threads, where all records name the same."""
    found = {machine(record) for record in records}
    return found.pop() if len(found) == 1 else ""


def _gain(outcome: Outcome) -> float:
    return outcome.best_epoch_accuracy - outcome.accuracy


def _mean_over_tasks(outcomes: dict[str, list[Outcome]], name: str) -> float | None:
    tasks = [fmean(getattr(o, name) for o in found) for found in outcomes.values() if found]
    return fmean(tasks) if tasks else None


def _mean_over_all(outcomes: dict[str, list[Outcome]], name: str) -> float | None:
    every = [getattr(outcome, name) for found in outcomes.values() for outcome in found]
    return fmean(every) if every else None


def _complete(cells: dict[str, Cell]) -> bool:
    """Whether every task has a result of the same seeds, and no seed ended without one."""
    seeds = {tuple(cell.accuracies) for cell in cells.values()}
    ended_well = not any(cell.failed or cell.unsupported for cell in cells.values())
    return ended_well and len(seeds) == 1 and seeds != {()}


def _means(cells: dict[str, Cell], groups: dict[str, list[str]]) -> Means:
    by_group = {g: fmean(cells[task].mean for task in tasks) for g, tasks in groups.items()}
    seeds = next(iter(cells.values())).accuracies
    by_seed = [fmean(cell.accuracies[seed] for cell in cells.values()) for seed in seeds]
    over_tasks = fmean(cell.mean for cell in cells.values())
    return Means(by_group, over_tasks, fmean(by_group.values()), spread(by_seed))
