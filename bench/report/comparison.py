"""What the rows of a board show beyond chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.report import statistics
from bench.report.rows import Row, table_of
from bench.report.statistics import Floats

LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """The complete rows of a board compared over its tasks."""

    rows: Sequence[Row]

    @cached_property
    def table(self) -> Floats:
        """Accuracy in percent, mean over seeds, (T, K)."""
        return table_of(self.rows)

    @cached_property
    def p(self) -> Floats:
        """Holm-corrected p of each pair, (K, K)."""
        return statistics.pairwise(self.table)

    @cached_property
    def ranks(self) -> list[tuple[int, int]]:
        """The best and the worst rank that each row may hold."""
        return statistics.shared_ranks(self.table, self.p, LEVEL) if self.rows else []

    @cached_property
    def average_ranks(self) -> Floats:
        """Over tasks, (K,)."""
        return statistics.average_ranks(self.table)

    def interval(self, row: Row) -> tuple[float, float]:
        """Of the row's mean over tasks, in percent."""
        return statistics.interval(row.values)

    def to_the_first(self, i: int) -> tuple[float, float]:
        """The interval of the i-th row's mean less the first row's, over the same tasks."""
        return statistics.interval(self.table[:, [i]] - self.table[:, [0]])

    def said(self) -> str:
        """What these tasks could and could not tell apart, in a sentence or two."""
        if len(self.rows) < 2:
            return ""
        tasks, methods = self.table.shape
        pairs = methods * (methods - 1) // 2
        found = int((self.p < LEVEL).sum() // 2)
        least = min(1.0, pairs * statistics.least_p(tasks))
        cannot = f"; over {tasks} tasks the smallest that could be is {least:.2g}"
        return (
            f"Ranks are shared where a difference is not significant (Wilcoxon over tasks, Holm): "
            f"{found} of {pairs} pairs have a corrected p below {LEVEL}"
            f"{cannot if least >= LEVEL else ''}.{self._power()}"
        )

    def _power(self) -> str:
        power = statistics.detectable(self.table)
        if power is None:
            return ""
        return (
            f" A true difference of {power:.2f} points would have shown in four of five such "
            "comparisons of two methods (paired t, uncorrected)."
        )


def rank_text(span: tuple[int, int]) -> str:
    """``3``, or ``2–5`` where ranks are shared."""
    best, worst = span
    return str(best) if best == worst else f"{best}–{worst}"
