"""The difficulty of a built-in suite: chance and nearest neighbours, next to the baselines."""

from collections.abc import Mapping, Sequence

from bench.config.suite import Suite, Task
from bench.report.baselines import BASELINES
from bench.report.boards import Board
from bench.report.markdown import MISSING, table_from_dicts
from bench.utils.escaping import for_markdown

NOTICE = "<!-- made by `python -m bench difficulty`; do not edit -->"
EXPLANATION = (
    "Test accuracy in percent. Chance: the most frequent test class for every image. 1-NN: the "
    "nearest neighbour in pixel space among the images of train and val. The other columns are "
    "means over the seeds of our records under the recipe below."
)


def render_difficulty(
    suite: Suite, boards: Sequence[Board], untrained: Mapping[str, tuple[float, float]]
) -> str:
    """Return the page of a suite; `untrained` has chance and 1-NN of each task, in percent.

    Of several boards of a backbone, the one of most records is shown.
    """
    shown = _largest_boards(suite, boards)
    lines = [_line(task, untrained[task.name], shown) for task in suite.task]
    recipes = [f"{board.backbone}: {board.recipe_name}" for board in shown]
    parts = [
        NOTICE,
        f"# Difficulty of {for_markdown(f'{suite.name} v{suite.version}')}",
        EXPLANATION,
        table_from_dicts(lines, frozenset({"group", "task"})),
        *([for_markdown(f"Recipes: {'; '.join(recipes)}.")] if recipes else []),
    ]
    return "\n\n".join(parts) + "\n"


def _largest_boards(suite: Suite, boards: Sequence[Board]) -> list[Board]:
    """Return the board of most records of each backbone that has a baseline, by backbone."""
    own = [
        board
        for board in boards
        if (board.suite, board.suite_version, board.variant) == (suite.name, suite.version, "")
        and any(row.method in BASELINES for row in board.all_rows)
    ]
    largest: dict[str, Board] = {}
    for board in sorted(own, key=lambda board: (board.backbone, -board.records)):
        largest.setdefault(board.backbone, board)
    return list(largest.values())


def _line(task: Task, untrained: tuple[float, float], boards: Sequence[Board]) -> dict[str, str]:
    chance, neighbour = untrained
    return {
        "group": task.group,
        "task": task.name,
        "classes": str(task.classes),
        "chance": f"{chance:.1f}",
        "1-NN": f"{neighbour:.1f}",
        **{
            f"{method}, {board.backbone}": _accuracy(board, method, task.name)
            for board in boards
            for method in BASELINES
        },
    }


def _accuracy(board: Board, method: str, task: str) -> str:
    for row in board.all_rows:
        if row.label == method and task in row.cells and row.cells[task].accuracies:
            return f"{row.cells[task].mean:.1f}"
    return MISSING
