"""What the rows of a board show beyond chance."""

# MERGED bench.report.statistics_page: """The page of statistics: what each board's rows show beyond chance."""
from collections.abc import Sequence

from tabulate import tabulate

from bench.report import statistics
from bench.report.leaderboard import SIGNIFICANCE_LEVEL, Board, Comparison, format_rank
from bench.report.markdown import escape

NOTICE = "<!-- made by `python -m bench report` from the records; do not edit -->"
EXPLANATION = (
    "Of complete rows, each task counting by its mean over seeds. Intervals: 95 %, bootstrap over "
    "tasks and, within each, over seeds; that of the difference to the first row is over the same "
    "tasks for both, each with its mean over seeds. Average rank: over tasks, best is 1. Better "
    "and worse: how many methods differ significantly by Wilcoxon's signed-rank test over tasks, "
    f"Holm-corrected over all pairs of the board, at {SIGNIFICANCE_LEVEL}. Means over the same tasks say "
    "nothing of other tasks: the intervals and tests do, as far as these tasks stand for them."
)


def render_statistics(boards: Sequence[Board]) -> str:
    """The page of statistics: a section for each board with two complete rows or more."""
    parts = [NOTICE, "# Statistics", EXPLANATION]
    for board in boards:
        if len(board.rows) > 1:
            parts += [f"## {escape(board.name)}", *_section(board.comparison)]
    return "\n\n".join(parts) + "\n"


def _section(found: Comparison) -> list[str]:
    tasks, methods = found.table.shape
    whole = [_friedman_sentence(found), found.summary()]
    if tasks > 1 and methods > 2:
        cd = statistics.critical_difference(methods, tasks, SIGNIFICANCE_LEVEL)
        whole.insert(1, f"Nemenyi's critical difference of average ranks is {cd:.2f}.")
    lines = [_method_line(found, i) for i in range(methods)]
    return [
        " ".join(filter(None, whole)),
        tabulate(lines, "keys", "pipe", disable_numparse=True),
        *_significant_pairs(found),
    ]


def _friedman_sentence(found: Comparison) -> str:
    tested = statistics.friedman(found.table)
    if tested is None:
        return ""
    chi, p = tested
    tasks, methods = found.table.shape
    return (
        f"Friedman's test of {methods} methods over {tasks} tasks: chi square {chi:.2f}, p {p:.2g}."
    )


def _method_line(found: Comparison, i: int) -> dict[str, str]:
    row = found.rows[i]
    assert row.means is not None  # complete
    low, high = found.interval(row)
    less, most = found.interval_to_first(i)
    differs = found.p[i] < SIGNIFICANCE_LEVEL
    more = found.table.mean(axis=0)[i] > found.table.mean(axis=0)
    return {
        "rank": format_rank(found.ranks[i]),
        "method": escape(row.label),
        "mean over tasks": f"{row.means.over_tasks:.2f}",
        "interval": f"{low:.2f} to {high:.2f}",
        "to the first": f"{less:.2f} to {most:.2f}" if i else "",
        "average rank": f"{found.average_ranks[i]:.2f}",
        "better than": str(int((differs & more).sum())),
        "worse than": str(int((differs & ~more).sum())),
        "seeds": str(len(row.seeds)),
    }


def _significant_pairs(found: Comparison) -> list[str]:
    """The significant pairs, the surest first."""
    methods, means = len(found.rows), found.table.mean(axis=0)
    pairs = [(found.p[i, j], i, j) for i in range(methods) for j in range(i + 1, methods)]
    sure = sorted((p, i, j) for p, i, j in pairs if p < SIGNIFICANCE_LEVEL)
    if not sure:
        return []
    lines = [
        {
            "better": escape(found.rows[i].label),
            "worse": escape(found.rows[j].label),
            "difference": f"{means[i] - means[j]:.2f}",
            "corrected p": f"{p:.2g}",
        }
        for p, i, j in sure
    ]
    return ["### Significant pairs", tabulate(lines, "keys", "pipe", disable_numparse=True)]
