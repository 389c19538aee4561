"""What the records say of one cell of a paper's table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean

from bench.config.suite import Suite
from bench.papers.claims import (
    MEAN_OVER_GROUPS,
    PaperEntry,
    cached_suite,
    parse_fields,
    resolve_tasks,
)
from bench.records.schema import Outcome, Record
from bench.report.grouping import canonical_json, group_by
from bench.report.leaderboard import split_comparable
from bench.report.markdown import MISSING, format_mean_sd
from bench.report.rows import machine_of, sample_sd

METRIC_DECIMALS = {"accuracy": 2, "params": 3, "total_params": 2, "init_seconds": 2}


@dataclass(frozen=True)
class MeasuredValue:
    """The values of a place, a seed each, with how far it got."""

    values: list[float]  # empty: incomplete, or not run
    done: int  # tasks with a result
    tasks: int  # that it needs
    unsupported: bool = False  # no task has a result, and one is known not to be possible
    outcomes: list[Outcome] = field(default_factory=list)  # behind the first value, one a task

    @property
    def mean(self) -> float:
        return fmean(self.values)

    @property
    def sd(self) -> float | None:
        return sample_sd(self.values)


@dataclass(frozen=True)
class ComparableRecords:
    """The records of one recipe; of each suite and backbone, those that share one board."""

    recipe: str
    records: Sequence[Record]
    left_out: int  # records of the recipe that cannot share a table with these


def largest_comparable(records: Iterable[Record], recipe: str) -> ComparableRecords:
    """Of each suite and backbone, the largest part whose records can share a table."""
    under = [r for r in records if r.settings.recipe.get("name") == recipe]
    found = group_by(split_comparable(under), lambda part: _suite_and_backbone(part[0]))
    chosen = [record for parts in found.values() for record in _largest_part(parts)]
    return ComparableRecords(recipe, chosen, len(under) - len(chosen))


@dataclass(frozen=True)
class PaperResults:
    """The records of one recipe, looked up by place; `column` is the accuracy that is meant."""

    parts: ComparableRecords
    column: str

    @cached_property
    def _by_method(self) -> Mapping[tuple[str, str, str], list[Record]]:
        return group_by(self.parts.records, lambda r: (*_suite_and_backbone(r), r.settings.method))

    def measured(self, place: PaperEntry) -> MeasuredValue:
        """What was measured there."""
        if place.metric == "total_params":
            return self._total_params(place)
        suite = cached_suite(place.suite)
        tasks = resolve_tasks(suite, place.on)
        by_task = self._by_task(place, place.suite)
        outcomes = {task: _outcomes_by_seed(by_task.get(task, [])) for task in tasks}
        seeds = sorted(set.intersection(*(set(found) for found in outcomes.values())))
        done = sum(bool(found) for found in outcomes.values())
        known = {r.failure.kind for t in tasks for r in by_task.get(t, []) if r.failure}
        values = [self._value(place, suite, {t: outcomes[t][s] for t in tasks}) for s in seeds]
        first = [outcomes[task][seeds[0]] for task in tasks] if seeds else []
        return MeasuredValue(values, done, len(tasks), not done and "unsupported" in known, first)

    def machines(self, places: Iterable[PaperEntry]) -> list[str]:
        """Where the records behind those places ran."""
        found = set()
        for place in places:
            by_task = self._by_task(place, place.suite)
            for task in resolve_tasks(cached_suite(place.suite), place.on):
                found |= {machine_of(record) for record in by_task.get(task, [])}
        return sorted(found)

    def _by_task(self, place: PaperEntry, suite: str) -> Mapping[str, list[Record]]:
        records = self._by_method.get((suite, place.backbone, place.method), [])
        wanted = parse_fields(place.fields)
        return group_by([r for r in records if _has_fields(r, wanted)], lambda r: r.settings.task)

    def _value(self, place: PaperEntry, suite: Suite, outcomes: Mapping[str, Outcome]) -> float:
        if place.metric == "params":
            return fmean(o.method_params + o.head_params for o in outcomes.values()) / 1e6
        name = self.column if place.metric == "accuracy" else place.metric
        found = {task: getattr(outcome, name) for task, outcome in outcomes.items()}
        if place.on != MEAN_OVER_GROUPS:
            return fmean(found.values())
        return fmean(
            fmean(found[t] for t in resolve_tasks(suite, group)) for group in suite.groups()
        )

    def _total_params(self, place: PaperEntry) -> MeasuredValue:
        """The backbone and what all tasks store beside it, over the backbone (VPT, Table 1)."""
        tuned, done, tasks = 0, 0, 0
        for suite in place.suite.split("+"):
            by_task = self._by_task(place, suite)
            for task in resolve_tasks(cached_suite(suite), place.on):
                found = list(_outcomes_by_seed(by_task.get(task, [])).values())
                tasks, done = tasks + 1, done + bool(found)
                tuned += found[0].method_params + found[0].head_params if found else 0
        backbone = self._backbone_params(place)
        whole = done == tasks and backbone
        return MeasuredValue([(backbone + tuned) / backbone] if whole else [], done, tasks)

    def _backbone_params(self, place: PaperEntry) -> int:
        """What `full` trains without its head; 0: there is no such record."""
        for suite in place.suite.split("+"):
            for record in self._by_method.get((suite, place.backbone, "full"), []):
                if record.outcome:
                    return record.outcome.method_params
        return 0


def format_value(place: PaperEntry, found: MeasuredValue) -> str:
    """A cell of a table: ``83.10 ± 0.35``, a dash, or n/a."""
    if not found.values:
        return "n/a" if found.unsupported else MISSING
    decimals = METRIC_DECIMALS[place.metric]
    sd = found.sd if place.metric in ("accuracy", "init_seconds") else None
    return format_mean_sd(found.mean, sd, decimals)


def _suite_and_backbone(record: Record) -> tuple[str, str]:
    return record.settings.suite, record.settings.backbone


def _largest_part(parts: Sequence[list[Record]]) -> list[Record]:
    return max(parts, key=lambda part: (len(part), canonical_json([r.cell for r in part])))


def _has_fields(record: Record, wanted: Mapping[str, object]) -> bool:
    """Whether a record has the wanted fields, and no other that its run had changed."""
    fields = record.settings.fields
    changed = fields.keys() & record.request.get("changes", {}).keys()
    return changed <= wanted.keys() and all(fields.get(k) == v for k, v in wanted.items())


def _outcomes_by_seed(records: Sequence[Record]) -> dict[int, Outcome]:
    """By seed; of several records of a seed the one that is first by its cell's name."""
    ordered = sorted(records, key=lambda record: record.cell, reverse=True)
    return {r.settings.seed: r.outcome for r in ordered if r.outcome}
