"""What takes measurements of a model between two epochs, and leaves the training as it is."""

# MERGED bench.training.measures.measured_run: """A cell that is run and measured; of one that has a record, only what is missing is measured."""
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch

from bench.config.suite import Split
from bench.data import splits
from bench.data.loader import BatchLoader
from bench.records import measurements
from bench.records.measurements import MeasurementFile, Number
from bench.records.schema import Record
from bench.records.store import Store
from bench.training import runner
from bench.training.callbacks import EpochState, ProgressCallback
from bench.training.cell import Cell
from bench.training.devices import describe_environment
from bench.training.measures import layerwise
from bench.training.runner import TrainedModel
from bench.utils.errors import UserError, first_line

MAX_IMAGES = 256  # at most, of those that are learnt from, evenly spaced in the split's own order
MeasurementRows = Iterator[list[Number]]
MeasureFunction = Callable[[EpochState, str, BatchLoader], MeasurementRows]


def _nmi_rows(moment: EpochState, method: str, images: BatchLoader) -> MeasurementRows:
    found = layerwise.nmi_by_layer(moment.model, method, images)
    pairs = zip(found["nmi"], found["nmi_pooled"], strict=True)
    for layer, (nmi, pooled) in enumerate(pairs):
        yield [moment.epoch, layer, nmi, pooled]


def _cka_rows(moment: EpochState, method: str, images: BatchLoader) -> MeasurementRows:
    for layer, row in enumerate(layerwise.cka_by_layer(moment.model, method, images)):
        for token_layer, value in enumerate(row):
            yield [moment.epoch, layer, token_layer, value]


def _progress_rows(moment: EpochState, _method: str, _images: BatchLoader) -> MeasurementRows:
    yield [moment.epoch, moment.seconds, moment.loss, moment.accuracy]


MEASURE_FUNCTIONS: dict[str, MeasureFunction] = {
    "nmi": _nmi_rows,
    "cka": _cka_rows,
    "convergence": _progress_rows,
    "validation": _progress_rows,
}


@dataclass
class MeasurementCallback:
    """The chosen measurements of one training of a cell.

    Called with each moment. What they draw, they draw from a copy of the random state.
    """

    cell: Cell
    names: Sequence[str]
    train_split: Split
    device: torch.device

    def __post_init__(self) -> None:
        self.rows: dict[str, list[list[Number]]] = {name: [] for name in self.names}
        self.loader: BatchLoader | None = None  # read when they are first asked for

    def __call__(self, moment: EpochState) -> None:
        last = moment.epoch in (0, self.cell.recipe.epochs)
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            for name in self.names:
                if last or not measurements.find_measurement(name).ends_only:
                    found = MEASURE_FUNCTIONS[name](
                        moment, self.cell.settings.method, self._get_loader()
                    )
                    self.rows[name] += found

    def measurement_files(self, accuracy: float) -> Iterator[MeasurementFile]:
        """What was measured of a run that ended with that accuracy."""
        for name in self.names:
            kind = measurements.find_measurement(name)
            images = len(self._get_loader().examples) if kind.needs_prompts else 0
            cell, columns = self.cell.settings.digest(), list(kind.columns)
            yield MeasurementFile(cell, name, accuracy, images, columns, self.rows[name])

    def _get_loader(self) -> BatchLoader:
        if self.loader is None:
            learnt = runner.load_training_examples(self.cell, self.train_split)
            seen = splits.subset(
                learnt, torch.tensor(splits.evenly_spaced(len(learnt), MAX_IMAGES))
            )
            view = self.cell.recipe.views_for(self.cell.suite.name).test
            self.loader = runner.make_loader(self.cell, seen, view, self.device, None)
        return self.loader


SPLITS: dict[Split, tuple[Split, Split]] = {  # what is learnt -> both
    "trainval": ("trainval", "test"),
    "train": ("train", "val"),
}
NO_NOTES: Mapping[str, Any] = MappingProxyType({})


def run_and_measure(
    cell: Cell,
    store: Store,
    device: torch.device,
    progress: ProgressCallback,
    more: Mapping[str, Any] = NO_NOTES,
) -> Record:
    """Run the cell, unless it has a record, and keep its record and what was to be observed.

    What goes wrong in a run becomes its record, as ever. Raises `UserError` where a cell that has a
    record cannot be observed, or ends elsewhere than its record without a cause.
    """
    former = store.find(cell.settings)
    names = (
        measurements.missing_measurements(store.root, cell.settings.digest(), cell.measurements)
        or cell.measurements
    )
    final = MeasurementCallback(
        cell, measurements.filter_by_training(names, "final"), "trainval", device
    )
    accuracy = None
    if former is None or not former.ok:
        about = {**more, "observed": ", ".join(cell.measurements)}
        former = runner.run(cell, store, device, progress, about, final)
    elif final.names:
        accuracy = _rerun(cell, device, progress, final)
        _require_recorded_accuracy(former, accuracy, device)
    if former.outcome is None:
        return former
    for found in final.measurement_files(former.outcome.accuracy if accuracy is None else accuracy):
        measurements.write_measurement(store.root, found)
    _measure_validation(cell, measurements.filter_by_training(names, "validation"), store, device)
    return former


def _rerun(
    cell: Cell, device: torch.device, progress: ProgressCallback, observers: MeasurementCallback
) -> float:
    """The accuracy of a cell that is run to be observed."""
    done = _train(cell, observers, device, progress)
    return done.monitor.evaluations[cell.recipe.epochs].accuracy


def _measure_validation(cell: Cell, names: list[str], store: Store, device: torch.device) -> None:
    """Train on the training split alone, scoring validation data after each epoch."""
    if not names:
        return
    recipe = replace(cell.recipe, test_evaluations=cell.recipe.epochs)
    aside = replace(cell, recipe=recipe)
    observers = MeasurementCallback(aside, names, "train", device)
    accuracy = _rerun(aside, device, lambda *_: None, observers)
    for found in observers.measurement_files(accuracy):
        measurements.write_measurement(store.root, found)


def _train(
    cell: Cell, observers: MeasurementCallback, device: torch.device, progress: ProgressCallback
) -> TrainedModel:
    learnt, scored = SPLITS[observers.train_split]
    parts = replace(cell, train_split=learnt, eval_split=scored)
    try:
        return runner.train(parts, device, progress, observe=observers)
    except Exception as error:
        kind = type(error).__name__
        raise UserError(f"it cannot be observed: {kind}: {first_line(error)}") from error


def _require_recorded_accuracy(former: Record, accuracy: float, device: torch.device) -> None:
    """Raise `UserError` where a cell ends elsewhere than its record, on alike machine and code.

    Other versions round otherwise: what was measured then stands with its own accuracy.
    """
    assert former.outcome is not None
    if accuracy != former.outcome.accuracy and _is_same_environment(former, device):
        raise UserError(
            f"observed, the cell ended at {accuracy:.4f} %, and its record, made by the same "
            f"versions on the same machine, says {former.outcome.accuracy:.4f} %: nothing was kept"
        )


def _is_same_environment(former: Record, device: torch.device) -> bool:
    now = describe_environment(device)
    known = {name: former.environment.get(name) for name in now if name != "started"}
    return not now["dirty"] and known == {name: now[name] for name in known}
