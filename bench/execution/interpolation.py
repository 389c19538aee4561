"""Scores of models between a cell's start and its end, which is trained again to have both.

The models that are scored on test are those of the cell: trained on all training images. Those
scored on validation data, by which alpha is chosen, were trained on the training split alone, as
for any other choice: the final run has learnt the validation images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bench.config.recipe import LINEAR_PROBE
from bench.data.splits import Examples
from bench.execution import export, selection
from bench.execution.request import FINAL_SPLITS, TRIAL_SPLITS, Request, request_from_json
from bench.models import backbones, compatibility, interpolation, weight_files
from bench.models.interpolation import ModelPath, State
from bench.records import schema
from bench.records.interpolations import Along, Interpolation, Kind, SetScores
from bench.records.schema import Record
from bench.training import runner, trainer
from bench.training.callbacks import EpochState
from bench.training.cell import Cell, load_split, make_loader
from bench.training.feature_cache import FeatureCache
from bench.utils.errors import UserError
from methods import Unsupported
from methods.shared.base import Model

# Of the images of a set: folding a method into the weights, and another order of sums, round.
ROUNDING = {"fp32": 0.002, "bf16": 0.01}
OTHER: dict[Along, Along] = {"weights": "scale", "scale": "weights"}


@dataclass(frozen=True)
class ScoredImages:
    """A set of images that the models are scored on."""

    name: str
    kind: Kind
    examples: Examples


class Scorer:
    """Scores models on sets of images, which are read once."""

    def __init__(self, cell: Cell, sets: Sequence[ScoredImages], device: torch.device):
        self.sets, self._device = sets, device
        self._precision = cell.settings.recipe["precision"]
        loaders = [make_loader(cell, one.examples, cell.views.test, device) for one in sets]
        self._batches = {
            one.name: FeatureCache(loader, self._precision, passes=1)
            for one, loader in zip(sets, loaders, strict=True)
        }

    def accuracy(self, model: Model, name: str) -> float:
        """Return the accuracy on a set in percent; draws no random number of the training's."""
        with torch.random.fork_rng([self._device] if self._device.type == "cuda" else []):
            return trainer.evaluate(model, self._batches[name], self._precision).accuracy


@dataclass
class Start:
    """A callback that notes the model before the first epoch: its tensors, and its accuracy."""

    scorer: Scorer
    set_name: str

    def __call__(self, observed: EpochState) -> None:
        if observed.epoch == 0:
            self.state: State = interpolation.copied_state(observed.model)
            self.accuracy = self.scorer.accuracy(observed.model, self.set_name)


def interpolable_cell(record: Record, along: Along, root: Path, device: str) -> Cell:
    """Rebuild the cell of a record that has such a path.

    Raises `UserError`, before any compute, where it has none, or as `export.cell_of_record` does.
    """
    if schema.is_trial(record.settings):
        raise UserError(f"cell {record.cell} is a trial; a final run was expected")
    if record.outcome is None:
        raise UserError(f"cell {record.cell} has no result, so no end to interpolate to")
    head = record.settings.recipe.get("head_init")
    if head != LINEAR_PROBE:
        raise UserError(
            f"cell {record.cell} starts from a new head (head_init={head}), which is no "
            f"classifier; a cell that was run with --set head_init={LINEAR_PROBE} was expected"
        )
    cell = export.cell_of_record(record, root, device)
    _require_validation_images(cell, request_from_json(record.request, root, device))
    _require_path(cell, along)
    return cell


def _require_validation_images(cell: Cell, request: Request) -> None:
    """Raise `UserError` where the task has no images to choose alpha on."""
    try:
        selection.check_data(cell.suite, cell.task, TRIAL_SPLITS, request)
    except UserError as error:
        raise UserError(f"alpha is chosen on val, after training on train: {error}") from None


def _require_path(cell: Cell, along: Along) -> None:
    """Raise `UserError` if the method has no such path on the cell's backbone."""
    why = _path_error(cell, along)
    if why is None:
        return
    other = OTHER[along]
    hint = "" if _path_error(cell, other) else f"; --along {other} is possible"
    name = cell.settings.method
    raise UserError(f"{name} cannot be interpolated along its {along}: {why}{hint}")


def _path_error(cell: Cell, along: Along) -> Unsupported | None:
    """Return why the method, attached to its backbone, has no such path; None if it has."""
    try:
        compatibility.require_attachable(cell.backbone, cell.method)
        torch.manual_seed(cell.settings.seed)
        model = backbones.load(cell.backbone, cell.task.classes, cell.recipe)
        came_with_it = weight_files.tensor_ids(model)
        cell.method.attach(model)
        interpolation.REQUIREMENTS[along](model.eval(), came_with_it)
    except Unsupported as error:
        return error
    return None


def interpolate(
    record: Record,
    cell: Cell,
    alphas: Sequence[float],
    along: Along,
    device: torch.device,
    announce: Callable[[str], None],
) -> Interpolation:
    """Train the cell of the record again, and score the models at each alpha, 0 and 1 included.

    `cell` is one of `interpolable_cell`. Raises `UserError` if the two ends score otherwise than
    the start of the training and the record, or if a model has scores that are not finite.
    """
    assert record.outcome is not None
    alphas = sorted({0.0, 1.0, *alphas})
    scores: list[SetScores] = []
    for (learnt, scored), sets, recorded in (
        (TRIAL_SPLITS, validation_sets(cell), None),
        (FINAL_SPLITS, test_sets(cell), record.outcome.accuracy),
    ):
        announce(f"training on {learnt}, then {len(alphas)} models are scored on each set")
        one = replace(cell, train_split=learnt, eval_split=scored)
        try:
            scores += _score(one, sets, alphas, along, device, recorded)
        except (Unsupported, trainer.Diverged) as error:
            raise UserError(f"cell {record.cell} cannot be interpolated: {error}") from None
    s = record.settings
    return Interpolation(
        record.cell, along, s.suite, s.task, s.backbone, s.method, s.seed, alphas, scores
    )


def validation_sets(cell: Cell) -> list[ScoredImages]:
    """Return the set that alpha is chosen on."""
    return [ScoredImages("val", "validation", load_split(cell, "val"))]


def test_sets(cell: Cell) -> list[ScoredImages]:
    """Return the sets that are reported, the task's own test set first."""
    return [ScoredImages("test", "test", load_split(cell, "test"))]


def _score(
    cell: Cell,
    sets: Sequence[ScoredImages],
    alphas: Sequence[float],
    along: Along,
    device: torch.device,
    recorded: float | None,
) -> list[SetScores]:
    """Train the cell and score its path; the first set is the one that it is evaluated on."""
    scorer, own = Scorer(cell, sets, device), sets[0]
    path, start, end = _train(cell, along, device, Start(scorer, own.name))
    precision = cell.settings.recipe["precision"]
    if recorded is not None:
        _require_equal("trained again, the cell", end, recorded, "its record", own, precision)
    found = [[scorer.accuracy(model, one.name) for one in sets] for model in map(path.at, alphas)]
    for alpha, accuracy, what in ((0.0, start, "the start"), (1.0, end, "the end of training")):
        here = found[alphas.index(alpha)][0]
        _require_equal(f"the model at alpha = {alpha:g}", here, accuracy, what, own, precision)
    by_set = zip(sets, zip(*found, strict=True), strict=True)
    return [SetScores(one.name, one.kind, len(one.examples), [*those]) for one, those in by_set]


def _train(
    cell: Cell, along: Along, device: torch.device, start: Start
) -> tuple[ModelPath, float, float]:
    """Train the cell; return its path, and the accuracies of its start and of its end."""
    trained = runner.train(cell, device, lambda *_: None, callback=start)
    make_path = interpolation.PATHS[along]
    path = make_path(trained.model, start.state, trained.backbone_tensor_ids)
    return path, start.accuracy, trained.monitor.evaluations[cell.recipe.epochs].accuracy


def _require_equal(
    what: str, found: float, expected: float, whose: str, images: ScoredImages, precision: str
) -> None:
    """Raise `UserError` for accuracies that differ by more than rounding explains."""
    count = len(images.examples)
    allowed = max(1.0, ROUNDING[precision] * count)  # images
    if abs(found - expected) * count > 100 * allowed + 1e-6:
        raise UserError(
            f"{what} scores {found:.2f} % on {images.name}, and {whose} says {expected:.2f} %: "
            "nothing was written"
        )
