"""The page of further test sets: methods in distribution and under every shift, with its CSV."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.records.schema import Outcome, Record
from bench.report.boards import Board
from bench.report.markdown import MISSING, REPORT_NOTICE, format_mean_sd, table_from_dicts
from bench.report.rows import sample_sd
from bench.utils.escaping import for_markdown
from bench.utils.tables import csv_from_dicts

PAGE, CSV, PICTURE = "shifts.md", "shifts.csv", "pictures/shifts"
BASELINE = "full"
STRENGTH = re.compile(r"(.+)_([1-9][0-9]*)")  # of a set's name: its kind and its strength
EXPLANATION = (
    "Accuracy in percent after the last epoch of one training run: on the task's own test set (in "
    "distribution), and on further test sets that were used neither for training nor for any "
    "choice. Mean ± sample sd over seeds. A kind of shift with several strengths counts with "
    "their mean; the mean of shifts is over kinds. On a set marked * the scores are restricted to "
    f"its classes; the CSV also has the unrestricted accuracies. Over {BASELINE}: the mean of "
    f"shifts minus that of {BASELINE} on the same task and seeds."
)
CSV_COLUMNS = (
    *("suite", "suite_version", "backbone", "recipe", "task", "method", "seed", "set", "kind"),
    *("strength", "images", "accuracy", "masked_accuracy", "cell"),
)
Scores = dict[int, dict[str, float]]  # seed -> test set -> the accuracy that counts, in percent


@dataclass(frozen=True)
class ShiftRow:
    """A method on one task: its accuracy on test and its scores on further sets, by seed."""

    label: str
    accuracies: dict[int, float]  # seed -> in distribution
    scores: Scores

    def kind_means(self, kinds: Mapping[str, Sequence[str]]) -> dict[int, dict[str, float]]:
        """Return the mean over the sets of each kind, by seed."""
        return {
            seed: {kind: fmean(scores[name] for name in sets) for kind, sets in kinds.items()}
            for seed, scores in self.scores.items()
        }


@dataclass(frozen=True)
class ShiftTable:
    """The methods of a board on a task that has further test sets."""

    board: Board
    task: str
    kinds: dict[str, list[str]]  # kind -> its sets, by strength
    masked: frozenset[str]  # the kinds whose sets are scored among some classes alone
    rows: list[ShiftRow]

    @property
    def name(self) -> str:
        return f"{self.board.name}: {self.task}"


def shift_tables(boards: Sequence[Board], records: Iterable[Record]) -> list[ShiftTable]:
    """Return a table for each task of each board that has scores on further test sets."""
    outcomes = {r.cell: r.outcome for r in records if r.outcome and r.outcome.shifts}
    tables = [_table(board, task, outcomes) for board in boards for task in board.tasks]
    return [table for table in tables if table is not None]


def _table(board: Board, task: str, outcomes: Mapping[str, Outcome]) -> ShiftTable | None:
    rows, scored = [], dict[str, Outcome]()
    for row in board.all_rows:
        cell = row.cells[task]
        found = {
            seed: outcomes[cell.cell_names[seed]]
            for seed in cell.accuracies
            if cell.cell_names[seed] in outcomes
        }
        if found:
            scores = {
                seed: {name: one.score for name, one in outcome.shifts.items()}
                for seed, outcome in found.items()
            }
            accuracies = {seed: outcome.accuracy for seed, outcome in found.items()}
            rows.append(ShiftRow(row.label, accuracies, scores))
            scored = {name: outcome for outcome in found.values() for name in outcome.shifts}
    if not rows:
        return None
    kinds = sets_by_kind(scored)
    masked = frozenset(
        kind
        for kind, sets in kinds.items()
        if scored[sets[0]].shifts[sets[0]].masked_accuracy is not None
    )
    return ShiftTable(board, task, kinds, masked, sorted(rows, key=lambda r: _order(r, kinds)))


def _order(row: ShiftRow, kinds: Mapping[str, Sequence[str]]) -> tuple[float, str]:
    return -fmean(mean_of_shifts(row, kinds).values()), row.label


def sets_by_kind(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the sets of each kind by strength: ``noise_1`` and ``noise_2`` are of kind noise.

    A set with no other of its kind is a kind of its own.
    """
    split = {name: split_name(name) for name in names}
    count = Counter(kind for kind, _ in split.values())
    kinds: dict[str, list[str]] = {}
    for name, (kind, _) in sorted(split.items(), key=lambda item: item[1]):
        kinds.setdefault(kind if count[kind] > 1 else name, []).append(name)
    return kinds


def split_name(name: str) -> tuple[str, int]:
    """Return the kind and the strength in a set's name; strength 0 where it has none."""
    found = STRENGTH.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, 0)


def mean_of_shifts(row: ShiftRow, kinds: Mapping[str, Sequence[str]]) -> dict[int, float]:
    """Return the mean over the kinds of shift, by seed."""
    return {seed: fmean(means.values()) for seed, means in row.kind_means(kinds).items()}


def over_baseline(row: ShiftRow, table: ShiftTable) -> list[float]:
    """Return the mean of shifts less the baseline's, for each seed that both have."""
    base = next((one for one in table.rows if one.label == BASELINE), None)
    if base is None or row is base:
        return []
    own, its = (mean_of_shifts(one, table.kinds) for one in (row, base))
    return [own[seed] - its[seed] for seed in sorted(own.keys() & its.keys())]


def render_page(tables: Sequence[ShiftTable]) -> str:
    """Return the page of further test sets, a section for each table."""
    picture = f"![Accuracy by strength of shift]({PICTURE}.svg)"
    parts = [REPORT_NOTICE, "# Under distribution shift", EXPLANATION, picture]
    for table in tables:
        parts += [f"## {for_markdown(table.name)}", table_from_dicts([*_lines(table)])]
    return "\n\n".join(parts) + "\n"


def _lines(table: ShiftTable) -> Iterator[dict[str, str]]:
    for row in table.rows:
        by_seed = row.kind_means(table.kinds).values()
        kinds = {
            _head(kind, table): _over_seeds(means[kind] for means in by_seed)
            for kind in table.kinds
        }
        yield {
            "method": row.label,
            "in distribution": _over_seeds(row.accuracies.values()),
            **kinds,
            "mean of shifts": _over_seeds(mean_of_shifts(row, table.kinds).values()),
            f"over {BASELINE}": _over_seeds(over_baseline(row, table)),
            "seeds": str(len(row.scores)),
        }


def _head(kind: str, table: ShiftTable) -> str:
    strengths = f" ({len(table.kinds[kind])})" if len(table.kinds[kind]) > 1 else ""
    return f"{kind}{strengths}{' *' if kind in table.masked else ''}"


def _over_seeds(values: Iterable[float]) -> str:
    listed = list(values)
    return format_mean_sd(fmean(listed), sample_sd(listed)) if listed else MISSING


def render_csv(records: Iterable[Record]) -> str:
    """Return a line for each record and each of its further test sets, and one for test."""
    lines = [line for record in records if record.outcome for line in _csv_lines(record)]
    order = ("suite", "backbone", "recipe", "task", "method", "seed", "cell", "kind", "strength")
    return csv_from_dicts(CSV_COLUMNS, sorted(lines, key=lambda one: [one[key] for key in order]))


def _csv_lines(record: Record) -> Iterator[dict[str, str | int]]:
    s, outcome = record.settings, record.outcome
    if outcome is None or not outcome.shifts:
        return
    named: dict[str, str | int] = {
        "suite": s.shown_suite,
        "suite_version": s.suite_version,
        "backbone": s.backbone,
        "recipe": str(s.recipe.get("name")),
        "task": s.task,
        "method": s.method,
        "seed": s.seed,
        "cell": record.cell,
    }
    score = f"{outcome.accuracy:.4f}"
    test: dict[str, str | int] = {"images": outcome.test_images, "accuracy": score}
    yield {**named, "set": "test", "kind": "", "strength": 0, **test}
    for kind, sets in sets_by_kind(outcome.shifts).items():
        for name in sets:
            one = outcome.shifts[name]
            strength = split_name(name)[1] if len(sets) > 1 else 0
            found: dict[str, str | int] = {"images": one.images, "accuracy": f"{one.accuracy:.4f}"}
            if one.masked_accuracy is not None:
                found["masked_accuracy"] = f"{one.masked_accuracy:.4f}"
            yield {**named, "set": name, "kind": kind, "strength": strength, **found}
