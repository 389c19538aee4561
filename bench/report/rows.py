"""The rows of a board: a method's accuracies on the tasks shown, with their means."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from math import isnan
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.records.schema import Outcome, Record, own_grid
from bench.report.frame import canonical_json, differing_settings
from bench.report.markdown import MISSING, describe_machine
from bench.report.search_effort import SearchEffort, search_effort

if TYPE_CHECKING:
    import pandas as pd

TUNED_PER_TASK = "chosen for each task"
CODE_DIGITS = 12  # characters shown of a plug-in's code


@dataclass(frozen=True)
class TaskResult:
    """The results of one method on one task, by seed."""

    accuracies: dict[int, float]  # seed -> top-1 percent
    gains: dict[int, float]  # seed -> what the best epoch on test would have added, an oracle
    failed: int = 0
    unsupported: int = 0
    cell_names: dict[int, str] = field(default_factory=dict)  # seed -> the cell of its record
    unshared: dict[int, float] = field(default_factory=dict)  # of seeds that other tasks lack

    @property
    def mean(self) -> float:
        return fmean(self.accuracies.values())

    @property
    def sd(self) -> float | None:
        return sample_sd(self.accuracies.values())

    def restricted(self, seeds: Collection[int]) -> "TaskResult":
        """Return the results of these seeds; those of others are `unshared`."""
        return replace(
            self,
            accuracies={seed: self.accuracies[seed] for seed in sorted(seeds)},
            gains={seed: self.gains[seed] for seed in sorted(seeds)},
            unshared={s: found for s, found in self.accuracies.items() if s not in seeds},
        )


@dataclass(frozen=True)
class RowMeans:
    """The means of a complete row, each over the tasks shown."""

    by_group: dict[str, float]
    over_tasks: float
    over_groups: float  # of `by_group`: every group counts the same
    sd: float | None  # sample sd over seeds of the mean over tasks; None: one seed


@dataclass(frozen=True)
class MethodRow:
    """A method with its fields: one line of a board."""

    label: str  # the method's name; of one with changed fields, with those that tell it apart
    method: str
    fields: dict[str, Any]  # with words for one that was chosen for each task
    rates: dict[str, float]  # learning rate and weight decay; empty: chosen for each task
    cells: dict[str, TaskResult]  # task -> cell, for every task shown
    seeds: list[int]  # of the complete row; of an incomplete one, all that gave a result
    method_params: float | None  # mean over tasks, head left out; None: no result
    head_params: float | None  # mean over tasks
    init_seconds: float | None  # mean over tasks and seeds
    train_seconds: float | None  # mean over tasks and seeds
    stored_bytes: float | None  # of an export, mean over tasks; None: an early record lacks it
    machine: str  # where all its cells ran; empty: on several, so that its times mean little
    means: RowMeans | None  # None: the row is incomplete
    remark: str  # the method's footnote, or empty
    search: SearchEffort = field(default_factory=SearchEffort)

    @property
    def params_in_millions(self) -> float | None:
        """Trainable parameters, the head's among them."""
        if self.method_params is None or self.head_params is None:
            return None
        return (self.method_params + self.head_params) / 1e6

    @property
    def accuracies(self) -> NDArray[np.float64]:
        """The accuracies (T, S) of a complete row: tasks as shown, seeds as in `seeds`."""
        return np.array([list(cell.accuracies.values()) for cell in self.cells.values()])


VARIANT = ["method", "variant"]  # the columns by which records share a row


def build_rows(frame: "pd.DataFrame", groups: dict[str, list[str]]) -> list[MethodRow]:
    """Return the rows of one board's records, by label; `groups` has the tasks of each group."""
    keyed = frame.assign(variant=_variant_keys(frame))
    listed = keyed.groupby(VARIANT)["record"].agg(list)
    variants = zip(listed, _mean_costs(keyed), strict=True)
    rows = []
    for method, of_method in groupby(variants, key=lambda one: one[0][0].settings.method):
        records, costs = zip(*of_method, strict=True)
        plain = [alike for alike in records if _has_default_fields(alike)]
        changes = differing_settings(_distinguishing_fields(records))
        for alike, cost, changed in zip(records, costs, changes, strict=True):
            alone = not changed or plain == [alike]
            label = method if alone else f"{method}[{changed}]"
            rows.append(_build_row(label, alike, cost, groups))
    return sorted(rows, key=lambda row: row.label)


def _variant_keys(frame: "pd.DataFrame") -> "pd.Series[str]":
    """Return each record's key of its variant: its fields, and its point where a task has several.

    A point is the rates and the fields that trials choose. Points that differ only between tasks
    were chosen for each task: they stay in one row.
    """
    counts = frame.groupby(["method", "fixed_fields", "task"])["point"].transform("nunique")
    several = counts.groupby([frame["method"], frame["fixed_fields"]]).transform("max") > 1
    return frame["fixed_fields"] + frame["point"].where(several, "")


def _mean_costs(frame: "pd.DataFrame") -> list[dict[str, float | None]]:
    """Return the costs of each variant: parameters a mean over tasks, seconds over all records."""
    sizes = ["method_params", "head_params", "stored_bytes"]
    over_seeds = frame.groupby([*VARIANT, "task"])[sizes].mean()
    seconds = frame.groupby(VARIANT)[["init_seconds", "train_seconds"]].mean()
    over_tasks = over_seeds.groupby(VARIANT)
    costs = over_tasks.mean().join(seconds)
    has_all = over_tasks["stored_bytes"].count() == over_tasks["stored_bytes"].size()
    costs["stored_bytes"] = costs["stored_bytes"].where(has_all)
    return [
        {str(name): None if isnan(value) else value for name, value in line.items()}
        for line in costs.to_dict("records")
    ]


def _has_default_fields(records: list[Record]) -> bool:
    """Return whether no run of these had a field of the method changed."""
    changed = {name for record in records for name in record.request.get("changes", {})}
    return not changed & records[0].settings.fields.keys()


def accuracy_table(rows: Sequence[MethodRow]) -> NDArray[np.float64]:
    """Return the means over seeds (T, K) of complete rows of one board."""
    return np.stack([row.accuracies.mean(axis=1) for row in rows], axis=1)


def sample_sd(values: Iterable[float]) -> float | None:
    """Return the sample standard deviation, or None for fewer than two values."""
    listed = list(values)
    return stdev(listed) if len(listed) > 1 else None


def _distinguishing_fields(variants: Sequence[list[Record]]) -> list[dict[str, Any]]:
    """Return the settings that may tell variants apart: fields, and rates where these do not."""
    fields = [
        {**alike[0].settings.fields, **_plugin_code(alike[0]), **_own_grid(alike[0])}
        for alike in variants
    ]
    if len({canonical_json(table) for table in fields}) == len(variants):
        return fields
    return [{**_common_rates(a), **table} for a, table in zip(variants, fields, strict=True)]


def _plugin_code(record: Record) -> dict[str, str]:
    """Return the first digits of the code of a plug-in's method; of the project's own, nothing."""
    return {"code": record.settings.code[:CODE_DIGITS]} if record.settings.code else {}


def _own_grid(record: Record) -> dict[str, list[Any]]:
    """Return the axes of a grid of the method's own; without one, nothing."""
    return {f"grid.{axis}": values for axis, values in own_grid(record.settings).items()}


def _common_rates(records: list[Record]) -> dict[str, float]:
    """Return the rates of all the records; empty where they differ from task to task."""
    first = records[0].settings.rates
    return first if all(record.settings.rates == first for record in records) else {}


def _common_fields(records: list[Record]) -> dict[str, Any]:
    """Return the fields of all the records; `TUNED_PER_TASK` for those chosen for each task."""
    tables = [record.settings.fields for record in records]
    names = dict.fromkeys(name for table in tables for name in table)
    return {k: _common_value([table.get(k) for table in tables]) for k in names}


def _common_value(values: Sequence[Any]) -> Any:
    return values[0] if all(value == values[0] for value in values) else TUNED_PER_TASK


def _build_row(
    label: str,
    records: list[Record],
    costs: dict[str, float | None],
    groups: dict[str, list[str]],
) -> MethodRow:
    cells = {
        task: _task_result([record for record in records if record.settings.task == task])
        for tasks in groups.values()
        for task in tasks
    }
    complete = _is_complete(cells)
    if complete:
        shared = _shared_seeds(cells)
        cells = {task: cell.restricted(shared) for task, cell in cells.items()}
    return MethodRow(
        label=label,
        method=records[0].settings.method,
        fields=_common_fields(records),
        rates=_common_rates(records),
        cells=cells,
        seeds=sorted({seed for cell in cells.values() for seed in cell.accuracies}),
        **costs,
        machine=_common_machine(records),
        means=_row_means(cells, groups) if complete else None,
        remark=max(record.remark for record in records),
        search=search_effort(records),
    )


def _task_result(records: list[Record]) -> TaskResult:
    ended = Counter(record.failure.kind for record in records if record.failure)
    found = {r.settings.seed: r.outcome.accuracy for r in records if r.outcome}
    gains = {r.settings.seed: _oracle_gain(r.outcome) for r in records if r.outcome}
    names = {r.settings.seed: r.cell for r in sorted(records, key=lambda r: r.settings.seed)}
    ended_badly = ended["failed"], ended["unsupported"]
    return TaskResult(dict(sorted(found.items())), gains, *ended_badly, names)


def machine_of(record: Record) -> str:
    """Return the device that a record ran on, and its threads."""
    about = record.environment
    return describe_machine(about.get("device_name", MISSING), about.get("threads", MISSING))


def _common_machine(records: Iterable[Record]) -> str:
    """Return the device and its threads, where all records name the same."""
    found = {machine_of(record) for record in records}
    return found.pop() if len(found) == 1 else ""


def _oracle_gain(outcome: Outcome) -> float:
    return outcome.best_epoch_accuracy - outcome.accuracy


def _is_complete(cells: dict[str, TaskResult]) -> bool:
    """Return whether all tasks share a seed with a result, and no seed ended without one."""
    ended_well = not any(cell.failed or cell.unsupported for cell in cells.values())
    return ended_well and bool(_shared_seeds(cells))


def _shared_seeds(cells: dict[str, TaskResult]) -> set[int]:
    """Return the seeds that have a result on every task: more on one of them drops no row."""
    return set.intersection(*(set(cell.accuracies) for cell in cells.values()))


def _row_means(cells: dict[str, TaskResult], groups: dict[str, list[str]]) -> RowMeans:
    by_group = {g: fmean(cells[task].mean for task in tasks) for g, tasks in groups.items()}
    seeds = next(iter(cells.values())).accuracies
    by_seed = [fmean(cell.accuracies[seed] for cell in cells.values()) for seed in seeds]
    over_tasks = fmean(cell.mean for cell in cells.values())
    return RowMeans(by_group, over_tasks, fmean(by_group.values()), sample_sd(by_seed))
