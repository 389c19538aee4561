"""Agreement of a board's order of methods with published ones: Kendall's τ and its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # loads its subpackages when they are used: `stats` takes long

from bench.papers.published_orders import Orders
from bench.report.rows import MethodRow, accuracy_table
from bench.report.statistics import TIE_DECIMALS, Floats

FEWEST_METHODS = 5  # of four not even equal orders are significant: 2 / 4! > 0.05
DRAWS = 2000


@dataclass(frozen=True)
class Agreement:
    """Kendall's τ-b of two orders of the same methods, with the interval of the bootstrap."""

    published: str  # whose order
    tau: float
    low: float
    high: float
    methods: int

    @property
    def says_something(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return (
            f"{self.published} {self.tau:.2f} ({self.low:.2f} to {self.high:.2f}, "
            f"{self.methods} methods)"
        )


def kendall_interval(
    table: Floats, published: Floats, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Return the bootstrap interval of τ-b of the means of `table` (T, K) and `published` (K,).

    Each draw takes T tasks and K methods with replacement: it is as wide as other tasks and other
    methods would make it. Draws of one method alone, or of equal numbers, have no τ and do not
    count. nan where no draw has one.
    """
    tasks, methods = table.shape
    choose = np.random.default_rng(seed)
    taus = []
    for _ in range(DRAWS):
        some = table[choose.integers(tasks, size=tasks)].mean(axis=0)  # (K,)
        who = choose.integers(methods, size=methods)
        taus.append(_tau_b(some[who], published[who]))
    if np.isnan(taus).all():
        return float("nan"), float("nan")
    low, high = np.nanquantile(taus, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _tau_b(a: Floats, b: Floats) -> float:
    """Return τ-b of `a` (K,) and `b` (K,) as scipy does, which takes ten times as long."""
    one, other = (np.sign((x[:, None] - x[None, :]).round(TIE_DECIMALS)) for x in (a, b))
    untied = np.sqrt(np.abs(one).sum() * np.abs(other).sum())
    return float((one * other).sum() / untied) if untied else float("nan")


def agreements(rows: Sequence[MethodRow], orders: Orders) -> list[Agreement]:
    """Return the agreement of complete rows with each published order that shares enough of them.

    A row stands for its method where the label is the method's name.
    """
    plain = {row.method: row for row in rows if row.label == row.method}
    found = []
    for name, means in orders.items():
        shared = sorted(plain.keys() & means.keys())
        if len(shared) >= FEWEST_METHODS:
            table = accuracy_table([plain[method] for method in shared])
            found.append(_agreement(name, table, _values(means, shared)))
    return found


def _values(means: Mapping[str, float], methods: Sequence[str]) -> Floats:
    return np.array([means[method] for method in methods])


def _agreement(name: str, table: Floats, published: Floats) -> Agreement:
    tau = scipy.stats.kendalltau(table.mean(axis=0).round(TIE_DECIMALS), published).statistic
    return Agreement(name, float(tau), *kendall_interval(table, published), len(published))


def agreement_sentence(rows: Sequence[MethodRow], orders: Orders) -> str:
    """Return how well the rows agree with published orders; empty if they share too few."""
    found = agreements(rows, orders)
    if not found:
        return ""
    listed = "; ".join(map(str, found))
    silent = [one.published for one in found if not one.says_something]
    nothing = (
        f" It says nothing about the published order for {', '.join(silent)} pretraining: 0 is "
        "within the interval."
    )
    return (
        "Kendall's τ between this order and the published orders on VTAB-1k (95 %, bootstrap over "
        f"tasks and methods): {listed}.{nothing if silent else ''}"
    )
