"""Made-up boards of the nineteen tasks of VTAB-1k."""

from dataclasses import replace

from bench.records.schema import Record
from bench.report.boards import Board, build_boards
from bench.report.frame import record_frame
from support.synthetic_records import MAE, SUITES, record

VTAB = SUITES["vtab1k"]
LOW = [40.0 + 2 * i for i in range(19)]
HIGH = [value + 5 + i % 3 for i, value in enumerate(LOW)]
NEAR = [value + (0.2 if i % 2 else -0.1) for i, value in enumerate(LOW)]


def row(method: str, accuracies: list[float], seed: int = 0) -> list[Record]:
    """A record a task with those accuracies."""
    made = []
    for task, accuracy in zip(VTAB.task, accuracies, strict=True):
        plain = record(method, MAE, VTAB, task, seed)
        assert plain.outcome
        made.append(replace(plain, outcome=replace(plain.outcome, accuracy=accuracy)))
    return made


def board(*rows: list[Record]) -> Board:
    [found] = build_boards(record_frame(one for alike in rows for one in alike), {VTAB.name: VTAB})
    return found
