"""Ensembles of two trained models: their probabilities averaged, for methods and for seeds.

Records keep predicted classes alone, so each cell is trained again, and held to its record.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from bench.execution import export
from bench.execution.rounding import is_beyond_rounding
from bench.records import schema
from bench.records.schema import Record
from bench.training import runner, trainer
from bench.training.cell import Cell, make_test_loader
from bench.utils.errors import UserError
from methods import Unsupported

COLUMNS = (
    *("suite", "task", "backbone", "first", "first_seed", "second", "second_seed", "kind"),
    *("first_accuracy", "second_accuracy", "ensemble", "first_cell", "second_cell"),
)


@dataclass(frozen=True)
class Scores:
    """The probabilities of a trained cell on its test images, (N, C), and the labels, (N,)."""

    record: Record
    probabilities: Tensor
    labels: Tensor

    @property
    def accuracy(self) -> float:
        """Top-1 percent."""
        return _accuracy(self.probabilities, self.labels)


def require_comparable(records: Sequence[Record]) -> None:
    """Raise `UserError` unless the records are two or more results on the same test images."""
    if len({record.cell for record in records}) < 2:
        raise UserError("an ensemble needs at least two distinct cells")
    for record in records:
        if schema.is_trial(record.settings) or record.outcome is None:
            raise UserError(f"cell {record.cell} is no final run with a result")
        export.require_real(record)
    first, *others = (record.settings for record in records)
    for s, record in zip(others, records[1:], strict=True):
        if _test_images(s) != _test_images(first):
            raise UserError(
                f"cell {record.cell} is on {s.task} of {s.suite}, tested on other images than "
                f"{records[0].cell}, on {first.task} of {first.suite}"
            )


def _test_images(s: schema.Settings) -> tuple[str, str, str, int]:
    return s.suite, s.task, s.split, s.classes


def score(record: Record, cell: Cell, device: torch.device) -> Scores:
    """Train a record's cell again and score its test images.

    Raises `UserError` if the accuracy differs from the record's by more than rounding.
    """
    assert record.outcome is not None
    precision = cell.settings.recipe["precision"]
    try:
        trained = runner.train(cell, device, lambda *_: None)
    except (Unsupported, trainer.Diverged) as error:
        raise UserError(f"cell {record.cell} cannot be trained again: {error}") from None
    found = Scores(
        record,
        *trainer.probabilities(trained.model, make_test_loader(cell, device), precision),
    )
    if is_beyond_rounding(found.accuracy, record.outcome.accuracy, len(found.labels), precision):
        raise UserError(
            f"cell {record.cell}, trained again, scores {found.accuracy:.2f} %; its record has "
            f"{record.outcome.accuracy:.2f} %: nothing was written"
        )
    return found


def ensembles(scored: Sequence[Scores]) -> list[dict[str, object]]:
    """Return a row of `COLUMNS` for each pair: accuracies alone and of the averaged probabilities.

    A pair is of two methods, or of two seeds of one, the control.
    """
    return [_row(first, second) for first, second in combinations(scored, 2)]


def _row(first: Scores, second: Scores) -> dict[str, object]:
    one, other = first.record.settings, second.record.settings
    is_control = (one.method, one.fields) == (other.method, other.fields)
    mean = (first.probabilities + second.probabilities) / 2  # (N, C)
    values = (
        *(one.suite, one.task, one.backbone, one.method, one.seed, other.method, other.seed),
        "seeds" if is_control else "methods",
        *(first.accuracy, second.accuracy, _accuracy(mean, first.labels)),
        *(first.record.cell, second.record.cell),
    )
    return dict(zip(COLUMNS, values, strict=True))


def _accuracy(probabilities: Tensor, labels: Tensor) -> float:
    return 100 * (probabilities.argmax(1) == labels).double().mean().item()


def score_all(
    records: Sequence[Record],
    cells: Sequence[Cell],
    device: torch.device,
    announce: Callable[[str], None],
) -> list[Scores]:
    """Score each record's cell, one after another."""
    found = []
    for record, cell in zip(records, cells, strict=True):
        found.append(score(record, cell, device))
        s = record.settings
        announce(f"{s.method}, seed {s.seed}: {found[-1].accuracy:.2f} % as recorded")
    return found
