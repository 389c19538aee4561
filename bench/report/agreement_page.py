"""The page of agreement between methods, from stored predictions, and its CSV."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import fmean

from bench.records.schema import Record
from bench.records.store import Store
from bench.report import agreement
from bench.report.agreement import Classes, Likeness, Runs
from bench.report.boards import Board
from bench.report.markdown import format_number, table_from_rows
from bench.utils import tables
from bench.utils.errors import UserError, unknown_name
from bench.utils.escaping import for_markdown

PAGE, CSV = "agreement.md", "agreement.csv"
NOTICE = "<!-- made by `python -m bench agreement` from records and predictions; do not edit -->"
EXPLANATION = (
    "How often two methods predict the same class for the same test images, in percent: means "
    "over tasks, and over pairs of runs with different seeds. Agreement: images with the same "
    "predicted class. Error overlap: images that both methods get wrong, out of those that at "
    "least one gets wrong (Jaccard index), next to the value expected if their errors were "
    "independent. Two seeds of the same method are the control: two methods differ only to the "
    "extent that they agree less than two seeds do.\n\n"
    "The stored predictions are classes without scores. They give two bounds for an ensemble: an "
    "oracle that is correct if either of two methods is (not available in practice), and the "
    "majority vote of three methods, where a three-way tie counts one third. `python -m bench "
    "ensemble` averages probabilities."
)
ONE_SEED = "no method has two seeds with predictions, so there is no control"
WORDS = frozenset({"method", "first", "second"})
SAME_SEED_MARK = "*"
SAME_SEED_NOTE = "\\* of the same seed, for want of others: the control does not apply."


@dataclass
class BoardRuns:
    """The predictions of a board: by the label of a method and by task, of each seed."""

    board: Board
    runs: dict[str, dict[str, dict[int, Classes]]] = field(default_factory=dict)
    labels: dict[str, Classes] = field(default_factory=dict)  # true classes by task

    def tasks(self, *methods: str) -> list[str]:
        """Return the tasks of which all of these methods have predictions, in the board's order."""
        return [t for t in self.board.tasks if all(t in self.runs[m] for m in methods)]

    def has_control(self, method: str) -> bool:
        """Return whether two seeds of a method have predictions, on some task."""
        return any(len(runs) > 1 for runs in self.runs[method].values())


def collect(
    boards: Sequence[Board], records: Iterable[Record], store: Store, names: Sequence[str]
) -> tuple[list[BoardRuns], list[str]]:
    """Read the predictions of the named methods, or of those with two seeds, on each board.

    Those of synthetic images do not count. Returns them with a sentence for each file that is not
    what its record says. Raises `UserError` for a name that no record has.
    """
    every = [record for record in records if not record.settings.is_synthetic]
    known = {record.settings.method for record in every}
    for name in names:
        if name not in known:
            raise unknown_name("method with a record", name, known)
    by_cell = {record.cell: record for record in every}
    problems: list[str] = []
    found = [
        _collect_board(board, by_cell, store, names, problems)
        for board in boards
        if not board.is_synthetic
    ]
    return [one for one in found if one.runs], problems


def _collect_board(
    board: Board,
    records: Mapping[str, Record],
    store: Store,
    names: Sequence[str],
    problems: list[str],
) -> BoardRuns:
    found = BoardRuns(board)
    for row in sorted(board.all_rows, key=lambda row: row.label):
        if names and row.method not in names:
            continue
        for task in board.tasks:
            cells = row.cells[task].cell_names if task in row.cells else {}
            for seed, cell in sorted(cells.items()):
                if problem := _add(found, row.label, task, seed, records[cell], store):
                    problems.append(problem)
    if not names:
        found.runs = {m: runs for m, runs in found.runs.items() if found.has_control(m)}
    return found


def _add(found: BoardRuns, label: str, task: str, seed: int, record: Record, store: Store) -> str:
    """Add the predictions of a record, if there are any; return what is wrong with them."""
    path = store.predictions_path(record.settings)
    try:
        kept = store.read_predictions(record.settings)
    except UserError as error:
        return str(error)
    if kept is None or kept.labels is None:
        return ""
    if problem := kept.misfit(record):
        return f"{path}: the record of cell {record.cell} {problem}"
    labels = found.labels.setdefault(task, kept.labels)
    if not (labels == kept.labels).all():
        return f"{path} has other labels than those of other cells of {task}"
    found.runs.setdefault(label, {}).setdefault(task, {})[seed] = kept.classes
    return ""


def render_page(found: Sequence[BoardRuns]) -> str:
    """Return the page: for each board the control, the pairs of methods, and the majorities."""
    parts = [NOTICE, "# Agreement between methods", EXPLANATION]
    for one in found:
        board = one.board
        name = f"{board.suite} v{board.suite_version}, {board.backbone}, {board.recipe_name}"
        parts += [f"## {for_markdown(name)}", *_sections(one)]
    return "\n\n".join(parts) + "\n"


def _sections(one: BoardRuns) -> Iterator[str]:
    methods = sorted(one.runs)
    controls = [method for method in methods if one.has_control(method)]
    yield "### The same method, another seed"
    yield _control_table(one, controls) if controls else f"Here {ONE_SEED}."
    pairs = [pair for pair in combinations(methods, 2) if one.tasks(*pair)]
    if pairs:
        yield "### Two methods"
        rows = [_pair_row(one, *pair) for pair in pairs]
        yield table_from_rows(PAIR_HEADS, rows, WORDS)
        if any(row[2].endswith(SAME_SEED_MARK) for row in rows):
            yield SAME_SEED_NOTE
    votes = [row for row in (_vote_row(one, *pair) for pair in pairs) if row]
    if votes:
        yield "### Majority of three"
        yield table_from_rows(VOTE_HEADS, votes, WORDS)


CONTROL_HEADS = (
    *("method", "tasks", "pairs", "accuracy", "agreement", "error overlap"),
    *("if independent", "either is right"),
)
PAIR_HEADS = (
    *("first", "second", "tasks", "agreement", "of two seeds", "error overlap", "if independent"),
    *("of two seeds", "either is right", "of two seeds"),
)
VOTE_HEADS = (
    *("first", "second", "tasks", "3 seeds of the first", "2 of the first, 1 of the second"),
    *("1 of the first, 2 of the second", "3 seeds of the second"),
)


def _control_table(one: BoardRuns, methods: Sequence[str]) -> str:
    rows = []
    for method in methods:
        tasks = _tasks_with_control(one, method, one.tasks(method))
        control = _control(one, method, tasks)
        assert control is not None
        each = [_mean_accuracy(one.runs[method][task], one.labels[task]) for task in tasks]
        count = f"{len(tasks)}", f"{control.pairs}"
        rows.append([method, *count, f"{fmean(each):.2f}", *_shown(control)])
    return table_from_rows(CONTROL_HEADS, rows, WORDS)


def _mean_accuracy(runs: Runs, labels: Classes) -> float:
    return fmean(agreement.accuracy(classes, labels) for classes in runs.values())


def _shown(found: Likeness) -> list[str]:
    values = (found.agreement, found.overlap, found.independent, found.either)
    return [format_number(value, 2) for value in values]


def _tasks_with_control(one: BoardRuns, method: str, tasks: Sequence[str]) -> list[str]:
    return [task for task in tasks if len(one.runs[method][task]) > 1]


def _control(one: BoardRuns, method: str, tasks: Sequence[str]) -> Likeness | None:
    """Return the mean over these tasks of two seeds of a method; None if a task has but one."""
    each = [agreement.compare_seeds(one.runs[method][task], one.labels[task]) for task in tasks]
    found = [likeness for likeness in each if likeness]
    return agreement.mean_likeness(found) if found and len(found) == len(tasks) else None


def _pair(one: BoardRuns, first: str, second: str) -> Likeness:
    return agreement.mean_likeness(
        [
            agreement.compare_methods(
                one.runs[first][task], one.runs[second][task], one.labels[task]
            )
            for task in one.tasks(first, second)
        ]
    )


def _pair_row(one: BoardRuns, first: str, second: str) -> list[str]:
    """Return a pair of methods, next to the mean of the two methods' controls on the same tasks."""
    tasks, found = one.tasks(first, second), _pair(one, first, second)
    controls = [_control(one, method, tasks) for method in (first, second)]
    known = [control for control in controls if control]
    control = agreement.mean_likeness(known) if len(known) == 2 else None
    agree, overlap, chance, either = _shown(found)
    of_seeds = _shown(control) if control else [format_number(None, 2)] * 4
    count = f"{len(tasks)}{SAME_SEED_MARK if found.same_seed else ''}"
    beside = (agree, of_seeds[0], overlap, chance, of_seeds[1], either, of_seeds[3])
    return [first, second, count, *beside]


def _vote_row(one: BoardRuns, first: str, second: str) -> list[str]:
    """Return the majorities of a pair of methods; empty unless both have three seeds."""
    tasks = one.tasks(first, second)
    a, b = ({task: one.runs[method][task] for task in tasks} for method in (first, second))
    columns = (
        [agreement.majority_of_seeds(a[t], one.labels[t]) for t in tasks],
        [agreement.majority_with_another(a[t], b[t], one.labels[t]) for t in tasks],
        [agreement.majority_with_another(b[t], a[t], one.labels[t]) for t in tasks],
        [agreement.majority_of_seeds(b[t], one.labels[t]) for t in tasks],
    )
    means = [fmean(known) for each in columns if len(known := _known(each)) == len(tasks)]
    if len(means) < len(columns):
        return []
    return [first, second, f"{len(tasks)}", *(f"{mean:.2f}" for mean in means)]


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def render_csv(found: Sequence[BoardRuns]) -> str:
    """Return a line for each task and pair; of a method with itself, over its seeds."""
    heads = (
        *("suite", "backbone", "recipe", "task", "first", "second", "pairs", "same_seed"),
        *("agreement", "overlap", "independent", "either"),
    )
    return tables.csv_text([heads, *(line for one in found for line in _csv_lines(one))])


def _csv_lines(one: BoardRuns) -> Iterator[tuple[object, ...]]:
    about = one.board.suite, one.board.backbone, one.board.recipe_name
    for task in one.board.tasks:
        there = [method for method in sorted(one.runs) if task in one.runs[method]]
        pairs = [*((method, method) for method in there), *combinations(there, 2)]
        for first, second in pairs:
            a, b, labels = one.runs[first][task], one.runs[second][task], one.labels[task]
            like = (
                agreement.compare_seeds(a, labels)
                if first == second
                else agreement.compare_methods(a, b, labels)
            )
            if like:
                numbers = like.agreement, like.overlap, like.independent, like.either
                shown = ["" if n is None else round(n, 4) for n in numbers]
                yield *about, task, first, second, like.pairs, int(like.same_seed), *shown
