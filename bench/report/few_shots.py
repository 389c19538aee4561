"""Few-shot results by data set and shots: means over lists, with two spreads that stand apart.

One spread is over the lists of images, each by its mean over training seeds; the other is over the
training seeds, within each list.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import nan, sqrt
from statistics import fmean, variance

from bench.config.shots import dataset_name
from bench.report.boards import Board
from bench.report.markdown import (
    MISSING,
    REPORT_NOTICE,
    format_number,
    table_from_dicts,
)
from bench.report.rows import MethodRow, TaskResult, sample_sd
from bench.utils.escaping import for_markdown
from bench.utils.tables import csv_from_dicts

PAGE, TABLE = "few_shots.md", "few_shots.csv"
PICTURES = {"svg": "few_shots.svg", "png": "few_shots.png"}
MEAN = "mean"  # over the data sets, in the place of one
EXPLANATION = (
    "Test accuracy in percent, averaged over lists; each list counts with its mean over training "
    "seeds. In brackets are the two spreads: the sample sd over lists, and the sd over training "
    "seeds within a list (pooled over lists). The first needs two lists, the second two seeds. A "
    "method has a value for a data set if it has a result for every list of that data set on the "
    "board, and a mean if it has a value for every data set; the spread of the mean over lists is "
    "that of the lists' means."
)
CSV_COLUMNS = (
    *("suite", "suite_version", "backbone", "recipe", "method", "dataset", "shots", "accuracy"),
    *("sd_over_lists", "sd_over_seeds", "lists", "seeds"),
)


@dataclass(frozen=True)
class ShotResult:
    """The accuracies of a method with so many shots of a data set, by list and training seed."""

    dataset: str
    shots: int
    by_list: Mapping[int, Mapping[int, float]]  # list -> training seed -> top-1 percent

    @property
    def list_means(self) -> dict[int, float]:
        """The mean over training seeds of each list, in percent."""
        return {number: fmean(found.values()) for number, found in self.by_list.items()}

    @property
    def accuracy(self) -> float:
        """The mean over lists, in percent."""
        return fmean(self.list_means.values())

    @property
    def sd_over_lists(self) -> float | None:
        """The sample sd of the lists' means; None for one list."""
        return sample_sd(self.list_means.values())

    @property
    def sd_over_seeds(self) -> float | None:
        """The sd over training seeds, pooled over the lists that have several; None for none."""
        several = [list(found.values()) for found in self.by_list.values() if len(found) > 1]
        return sqrt(fmean(map(variance, several))) if several else None

    @property
    def seeds(self) -> int:
        """The least number of training seeds of a list."""
        return min(map(len, self.by_list.values()))


MethodResults = dict[tuple[str, int], ShotResult]  # data set, shots -> result


@dataclass(frozen=True)
class FewShotBoard:
    """The few-shot results of a board: those of each method, for all of the board's lists."""

    board: Board
    datasets: list[str]
    shots: list[int]
    methods: dict[str, MethodResults]

    @property
    def columns(self) -> list[str]:
        """The data sets, and their mean."""
        return [*self.datasets, MEAN]

    def points(self) -> Iterator[tuple[str, ShotResult]]:
        """Yield each method's results, data set by data set and the mean last."""
        for method, found in self.methods.items():
            for dataset, shots in product(self.columns, self.shots):
                if (dataset, shots) in found:
                    yield method, found[dataset, shots]


def few_shot_boards(boards: Sequence[Board]) -> list[FewShotBoard]:
    """Return those of the boards whose tasks are few-shot, in their order."""
    return [_few_shot_board(board) for board in boards if board.draws]


def _few_shot_board(board: Board) -> FewShotBoard:
    places = {task: dataset_name(task, draw) for task, draw in board.draws.items()}
    datasets = list(dict.fromkeys(places[task] for task in board.tasks if task in places))
    shots = sorted({draw["shots"] for draw in board.draws.values()})
    rows = {row.label: _results(board, row, places) for row in board.all_rows}
    return FewShotBoard(
        board,
        datasets,
        shots,
        {label: _with_means(found, datasets) for label, found in rows.items()},
    )


def _results(board: Board, row: MethodRow, places: Mapping[str, str]) -> MethodResults:
    """Return a row's results where it has one for every list of the board."""
    lists: dict[tuple[str, int], dict[int, TaskResult]] = {}
    for task, draw in board.draws.items():
        if task in row.cells:
            place = places[task], draw["shots"]
            lists.setdefault(place, {})[draw["list"]] = row.cells[task]
    return {
        place: ShotResult(*place, {number: cell.accuracies for number, cell in found.items()})
        for place, found in lists.items()
        if all(cell.accuracies for cell in found.values())
    }


def _with_means(found: MethodResults, datasets: Sequence[str]) -> MethodResults:
    """Add the means over data sets, of the shots and the lists that all of them have."""
    means = {}
    for shots in {count for _, count in found}:
        parts = [found[name, shots] for name in datasets if (name, shots) in found]
        if len(parts) == len(datasets) and (common := _mean_of(parts)):
            means[MEAN, shots] = ShotResult(MEAN, shots, common)
    return found | means


def _mean_of(parts: Sequence[ShotResult]) -> dict[int, dict[int, float]]:
    """Return the mean over data sets by list and seed, of the lists and seeds that all have."""
    lists = sorted(set.intersection(*(set(part.by_list) for part in parts)))
    means = {}
    for number in lists:
        found = [part.by_list[number] for part in parts]
        seeds = sorted(set.intersection(*map(set, found)))
        if seeds:
            means[number] = {seed: fmean(one[seed] for one in found) for seed in seeds}
    return means


def render_few_shots(boards: Sequence[FewShotBoard]) -> str:
    """Return the page: a picture of the largest board, then each board's tables, shots by shots."""
    picture = f"[![Accuracy against shots]({PICTURES['png']})]({PICTURES['svg']})"
    shown = f"The curves are those of {boards[0].board.name}; bands: the sd over lists."
    links = f"Every value as [CSV]({TABLE})."
    head = [REPORT_NOTICE, "# Few shots", picture, f"{for_markdown(shown)} {links}", EXPLANATION]
    return "\n\n".join([*head, *(part for one in boards for part in _section(one))]) + "\n"


def _section(found: FewShotBoard) -> Iterator[str]:
    yield f"## {for_markdown(found.board.name)}"
    for shots in found.shots:
        yield f"### {shots} shot{'s' * (shots > 1)}"
        yield table_from_dicts(
            [
                {"method": method, **{d: _cell(of_method.get((d, shots))) for d in found.columns}}
                for method, of_method in found.methods.items()
            ]
        )


def _cell(result: ShotResult | None) -> str:
    """Return ``72.50 (lists 1.20, seeds 0.31)``, or a dash."""
    if result is None:
        return MISSING
    spreads = {"lists": result.sd_over_lists, "seeds": result.sd_over_seeds}
    words = ", ".join(f"{name} {sd:.2f}" for name, sd in spreads.items() if sd is not None)
    return f"{result.accuracy:.2f}" + (f" ({words})" if words else "")


def few_shots_csv(boards: Sequence[FewShotBoard]) -> str:
    """Return a line for each method, data set and number of shots of each board."""
    lines = [_csv_line(one.board, *point) for one in boards for point in one.points()]
    return csv_from_dicts(CSV_COLUMNS, lines)


def _csv_line(board: Board, method: str, result: ShotResult) -> dict[str, object]:
    sds = {"sd_over_lists": result.sd_over_lists, "sd_over_seeds": result.sd_over_seeds}
    return {
        "suite": board.suite,
        "suite_version": board.suite_version,
        "backbone": board.backbone,
        "recipe": board.recipe_name,
        "method": method,
        "dataset": result.dataset,
        "shots": result.shots,
        "accuracy": format_number(result.accuracy, 4),
        **{name: "" if sd is None else format_number(sd, 4) for name, sd in sds.items()},
        "lists": len(result.by_list),
        "seeds": result.seeds,
    }


def curve_lines(found: FewShotBoard) -> list[dict[str, object]]:
    """Return the points of the curves: method, data set, shots, the mean and its band."""
    lines = []
    for method, result in found.points():
        half = result.sd_over_lists
        low, high = (nan, nan) if half is None else (result.accuracy - half, result.accuracy + half)
        where = {"line": method, "dataset": result.dataset, "shots": result.shots}
        lines.append({**where, "mean": result.accuracy, "low": low, "high": high})
    return lines
