"""The page of statistics: how the methods of each board compare over its tasks."""

from collections.abc import Sequence

from bench.report import statistics
from bench.report.boards import SIGNIFICANCE_LEVEL, Board, Comparison, format_rank
from bench.report.markdown import REPORT_NOTICE, table_from_dicts
from bench.utils.escaping import for_markdown

EXPLANATION = (
    "These statistics cover complete rows; each task counts with its mean over seeds. Intervals: "
    "95 %, bootstrap over tasks and, within each task, over seeds. The interval of the difference "
    "to the first row resamples the same tasks for both rows, each with its mean over seeds. "
    "Average rank: mean over tasks; the best rank is 1. Better and worse: the number of methods "
    "that differ significantly by Wilcoxon's signed-rank test over tasks, Holm-corrected over all "
    f"pairs of the board, at {SIGNIFICANCE_LEVEL}. A mean over these tasks does not by itself "
    "generalise to other tasks; the intervals and tests do, to the extent that these tasks "
    "represent them."
)


def render_statistics(boards: Sequence[Board]) -> str:
    """Return the page of statistics: a section for each board with two complete rows or more."""
    parts = [REPORT_NOTICE, "# Statistics", EXPLANATION]
    for board in boards:
        if len(board.rows) > 1:
            parts += [f"## {for_markdown(board.name)}", *_statistics_section(board.comparison)]
    return "\n\n".join(parts) + "\n"


def _statistics_section(found: Comparison) -> list[str]:
    tasks, methods = found.table.shape
    whole = [_friedman_sentence(found), found.summary()]
    if tasks > 1 and methods > 2:
        cd = statistics.critical_difference(methods, tasks, SIGNIFICANCE_LEVEL)
        whole.insert(1, f"Nemenyi's critical difference of average ranks is {cd:.2f}.")
    lines = [_method_line(found, i) for i in range(methods)]
    return [
        " ".join(filter(None, whole)),
        table_from_dicts(lines, frozenset(lines[0])),
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
        "method": row.label,
        "mean over tasks": f"{row.means.over_tasks:.2f}",
        "interval": f"{low:.2f} to {high:.2f}",
        "to the first": f"{less:.2f} to {most:.2f}" if i else "",
        "average rank": f"{found.average_ranks[i]:.2f}",
        "better than": str(int((differs & more).sum())),
        "worse than": str(int((differs & ~more).sum())),
        "seeds": str(len(row.seeds)),
    }


def _significant_pairs(found: Comparison) -> list[str]:
    """Return the significant pairs, the surest first."""
    methods, means = len(found.rows), found.table.mean(axis=0)
    pairs = [(found.p[i, j], i, j) for i in range(methods) for j in range(i + 1, methods)]
    sure = sorted((p, i, j) for p, i, j in pairs if p < SIGNIFICANCE_LEVEL)
    if not sure:
        return []
    lines = [
        {
            "better": found.rows[i].label,
            "worse": found.rows[j].label,
            "difference": f"{means[i] - means[j]:.2f}",
            "corrected p": f"{p:.2g}",
        }
        for p, i, j in sure
    ]
    return ["### Significant pairs", table_from_dicts(lines, frozenset(lines[0]))]
