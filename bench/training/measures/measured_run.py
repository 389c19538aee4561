"""A run with measurements: a callback that measures the model between epochs.

Measuring does not touch the training state. For a cell that has a record, only what is missing is
measured.
"""

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
from bench.training.cell import Cell, load_training_examples, make_loader
from bench.training.devices import describe_environment
from bench.training.measures import layerwise
from bench.utils.errors import UserError, first_line

MAX_IMAGES = 256  # of the training images, evenly spaced in the order of the split
EVAL_SPLITS: dict[Split, Split] = {"trainval": "test", "train": "val"}  # by train split
MeasurementRows = Iterator[list[Number]]
MeasureFunction = Callable[[EpochState, str, BatchLoader], MeasurementRows]


def _nmi_rows(state: EpochState, method: str, images: BatchLoader) -> MeasurementRows:
    nmi = layerwise.nmi_by_layer(state.model, method, images)
    pairs = zip(nmi["nmi"], nmi["nmi_pooled"], strict=True)
    for layer, (mean, pooled) in enumerate(pairs):
        yield [state.epoch, layer, mean, pooled]


def _cka_rows(state: EpochState, method: str, images: BatchLoader) -> MeasurementRows:
    for layer, row in enumerate(layerwise.cka_by_layer(state.model, method, images)):
        for token_layer, value in enumerate(row):
            yield [state.epoch, layer, token_layer, value]


def _progress_rows(state: EpochState, _method: str, _images: BatchLoader) -> MeasurementRows:
    yield [state.epoch, state.seconds, state.loss, state.accuracy]


MEASURE_FUNCTIONS: dict[str, MeasureFunction] = {
    "nmi": _nmi_rows,
    "cka": _cka_rows,
    "convergence": _progress_rows,
    "validation": _progress_rows,
}


@dataclass
class MeasurementCallback:
    """A callback that takes the named measurements in one training of a cell.

    Its random draws come from a copy of the random state.
    """

    cell: Cell
    names: Sequence[str]
    train_split: Split
    device: torch.device

    def __post_init__(self) -> None:
        self.rows: dict[str, list[list[Number]]] = {name: [] for name in self.names}
        self._loader: BatchLoader | None = None  # made at its first use

    def __call__(self, state: EpochState) -> None:
        at_an_end = state.epoch in (0, self.cell.recipe.epochs)
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            for name in self.names:
                if at_an_end or not measurements.find_measurement(name).ends_only:
                    measure = MEASURE_FUNCTIONS[name]
                    self.rows[name] += measure(state, self.cell.settings.method, self._get_loader())

    def measurement_files(self, accuracy: float) -> Iterator[MeasurementFile]:
        """Yield the file of each measurement of a run that ended with that accuracy."""
        for name in self.names:
            kind = measurements.find_measurement(name)
            images = len(self._get_loader().examples) if kind.needs_prompts else 0
            cell, columns = self.cell.settings.digest(), list(kind.columns)
            yield MeasurementFile(cell, name, accuracy, images, columns, self.rows[name])

    def _get_loader(self) -> BatchLoader:
        if self._loader is None:
            examples = load_training_examples(self.cell, self.train_split)
            index = torch.tensor(splits.evenly_spaced(len(examples), MAX_IMAGES))
            measured = splits.subset(examples, index)
            self._loader = make_loader(self.cell, measured, self.cell.views.test, self.device)
        return self._loader


def run_and_measure(
    cell: Cell,
    store: Store,
    device: torch.device,
    progress: ProgressCallback,
    notes: Mapping[str, Any] = MappingProxyType({}),
) -> Record:
    """Run the cell, unless it has a record; write its record and its measurements.

    A failure of the run is recorded, as in `runner.run`. Raises `UserError` if a cell with a record
    cannot be measured, or ends with another accuracy than its record without a cause.
    """
    record = store.find(cell.settings)
    names = (
        measurements.missing_measurements(store.root, cell.settings.digest(), cell.measurements)
        or cell.measurements
    )
    final = MeasurementCallback(
        cell, measurements.filter_by_training(names, "final"), "trainval", device
    )
    accuracy = None
    if record is None or not record.ok:
        notes = {**notes, "observed": ", ".join(cell.measurements)}
        record = runner.run(cell, store, device, progress, notes, final)
    elif final.names:
        accuracy = _train(cell, final, device, progress)
        _require_recorded_accuracy(record, accuracy, device)
    if record.outcome is None:
        return record
    for file in final.measurement_files(record.outcome.accuracy if accuracy is None else accuracy):
        store.require_there()
        measurements.write_measurement(store.root, file)
    _measure_validation(cell, measurements.filter_by_training(names, "validation"), store, device)
    return record


def _measure_validation(cell: Cell, names: list[str], store: Store, device: torch.device) -> None:
    """Train on the train split, evaluating the val split after each epoch."""
    if not names:
        return
    recipe = replace(cell.recipe, test_evaluations=cell.recipe.epochs)
    validation_cell = replace(cell, recipe=recipe)
    callback = MeasurementCallback(validation_cell, names, "train", device)
    accuracy = _train(validation_cell, callback, device, lambda *_: None)
    for file in callback.measurement_files(accuracy):
        store.require_there()
        measurements.write_measurement(store.root, file)


def _train(
    cell: Cell, callback: MeasurementCallback, device: torch.device, progress: ProgressCallback
) -> float:
    """Train the cell on the callback's train split; return the accuracy after the last epoch."""
    train_split = callback.train_split
    cell = replace(cell, train_split=train_split, eval_split=EVAL_SPLITS[train_split])
    try:
        trained = runner.train(cell, device, progress, callback=callback)
    except Exception as error:
        kind = type(error).__name__
        raise UserError(f"it cannot be observed: {kind}: {first_line(error)}") from error
    return trained.monitor.evaluations[cell.recipe.epochs].accuracy


def _require_recorded_accuracy(record: Record, accuracy: float, device: torch.device) -> None:
    """Raise `UserError` if the accuracy differs from the record's on the same machine and code.

    Other versions round differently: their measurements are stored with their own accuracy.
    """
    assert record.outcome is not None
    if accuracy != record.outcome.accuracy and _is_same_environment(record, device):
        raise UserError(
            f"with measurements the cell reached {accuracy:.4f} %, but its record, from the same "
            f"versions and machine, says {record.outcome.accuracy:.4f} %: nothing was kept"
        )


def _is_same_environment(record: Record, device: torch.device) -> bool:
    now = describe_environment(device)
    shared = [name for name in now if name in record.environment and name != "started"]
    is_same = all(record.environment[name] == now[name] for name in shared)
    return is_same and not now["dirty"]
