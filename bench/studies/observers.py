"""What takes measurements of a model between two epochs, and leaves the training as it is."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from bench import data, runner
from bench.batches import Batches
from bench.moments import Moment
from bench.runner import Cell
from bench.studies import measurements
from bench.studies.kept import Measures, Number
from bench.studies.measures import alignments, by_layer
from bench.tasks import Split

IMAGES = 256  # at most, of those that are learnt from, evenly spaced in the split's own order
Rows = Iterator[list[Number]]
Taker = Callable[[Moment, str, Batches], Rows]


def _information(moment: Moment, method: str, images: Batches) -> Rows:
    found = by_layer(moment.model, method, images)
    pairs = zip(found["nmi"], found["nmi_pooled"], strict=True)
    for layer, (nmi, pooled) in enumerate(pairs):
        yield [moment.epoch, layer, nmi, pooled]


def _alignment(moment: Moment, method: str, images: Batches) -> Rows:
    for layer, row in enumerate(alignments(moment.model, method, images)):
        for token_layer, value in enumerate(row):
            yield [moment.epoch, layer, token_layer, value]


def _progress(moment: Moment, _method: str, _images: Batches) -> Rows:
    yield [moment.epoch, moment.seconds, moment.loss, moment.accuracy]


TAKERS: dict[str, Taker] = {
    "nmi": _information,
    "cka": _alignment,
    "convergence": _progress,
    "validation": _progress,
}


@dataclass
class Observers:
    """The chosen measurements of one training of a cell.

    Called with each moment. What they draw, they draw from a copy of the random state.
    """

    cell: Cell
    names: Sequence[str]
    learn: Split
    device: torch.device

    def __post_init__(self) -> None:
        self.rows: dict[str, list[list[Number]]] = {name: [] for name in self.names}
        self.images: Batches | None = None  # read when they are first asked for

    def __call__(self, moment: Moment) -> None:
        last = moment.epoch in (0, self.cell.recipe.epochs)
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            for name in self.names:
                if last or not measurements.find(name).ends:
                    found = TAKERS[name](moment, self.cell.settings.method, self._images())
                    self.rows[name] += found

    def found(self, accuracy: float) -> Iterator[Measures]:
        """What was measured of a run that ended with that accuracy."""
        for name in self.names:
            kind = measurements.find(name)
            images = len(self._images().examples) if kind.of_prompts else 0
            cell, columns = self.cell.settings.digest(), list(kind.columns)
            yield Measures(cell, name, accuracy, images, columns, self.rows[name])

    def _images(self) -> Batches:
        if self.images is None:
            learnt = runner.learnt(self.cell, self.learn)
            seen = data.chosen(learnt, torch.tensor(data.spread(len(learnt), IMAGES)))
            view = self.cell.recipe.view(self.cell.suite.name).test
            self.images = runner.batches(self.cell, seen, view, self.device, None)
        return self.images
