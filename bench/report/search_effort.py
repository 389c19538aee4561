"""The search behind a row, from its records: its trials, and rates at the grid's edge."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from bench.records.schema import Record

FEWEST_RATES = 3  # of two, each is at the edge
LR = "lr"


@dataclass(frozen=True)
class SearchEffort:
    """The search behind a row's cells; without trials, the row was not tuned by any."""

    trials: int = 0  # of the task that had the fewest
    rates: int = 0  # learning rates tried, of the task that had the fewest
    edge_tasks: tuple[str, ...] = ()  # whose learning rate is the least or the greatest tried
    validated: dict[tuple[str, int], float] = field(default_factory=dict)  # see `_validated`

    @property
    def words(self) -> str:
        """The number of trials, or that there were none."""
        return str(self.trials) if self.trials else "not tuned"


def search_effort(records: Iterable[Record]) -> SearchEffort:
    """Return the search of a row's records."""
    listed = list(records)
    trials = min(len(r.tuned.trials) if r.tuned else 0 for r in listed)
    rates = min(len(_rates_tried(record)) for record in listed)
    edges = tuple(dict.fromkeys(_edge_tasks(listed)))
    return SearchEffort(trials, rates, edges, dict(_validated(listed)))


def _rates_tried(record: Record) -> set[float]:
    return {trial.point[LR] for trial in record.tuned.trials} if record.tuned else set()


def _validated(records: Iterable[Record]) -> Iterator[tuple[tuple[str, int], float]]:
    """Yield the task and the seed of each tuned run, with the best validation accuracy, percent."""
    for record in records:
        trials = record.tuned.trials if record.tuned else []
        scored = [trial.accuracy for trial in trials if trial.accuracy is not None]
        if scored:
            yield (record.settings.task, record.settings.seed), max(scored)


def _edge_tasks(records: Iterable[Record]) -> Iterator[str]:
    for record in records:
        tried = _rates_tried(record)
        edges = {min(tried), max(tried)} if len(tried) >= FEWEST_RATES else set()
        if record.settings.rates.get(LR) in edges:
            yield record.settings.task
