"""Scores of models interpolated between the start and the end of a cell, which is trained again.

Test scores come from the cell's own training, on all training images. Validation scores, which
choose alpha, come from models trained on the training split alone, as for any other choice: the
final run has seen the validation images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bench.config.recipe import LINEAR_PROBE
from bench.config.suite import Split
from bench.execution import export, selection
from bench.execution.request import FINAL_SPLITS, TRIAL_SPLITS, Request, request_from_json
from bench.execution.rounding import is_beyond_rounding
from bench.models import backbones, compatibility, interpolation, weight_files
from bench.models.interpolation import State
from bench.records import schema
from bench.records.interpolations import Along, Interpolation, Kind, SetScores
from bench.records.schema import Record
from bench.training import runner, trainer
from bench.training.callbacks import EpochState
from bench.training.cell import Cell
from bench.training.feature_cache import FeatureCache
from bench.training.scored_sets import ScoredSet, scored_sets
from bench.utils.errors import UserError
from methods import Unsupported
from methods.shared.base import Model

ENDS = {0.0: "the start of its training", 1.0: "the end of its training, or its record"}
KINDS: dict[Split, Kind] = {"val": "validation", "test": "test"}
OTHER: dict[Along, Along] = {"weights": "scale", "scale": "weights"}


class Scorer:
    """Scores models on the sets of a cell, whose images are read once."""

    def __init__(self, cell: Cell, device: torch.device):
        self.sets = list(scored_sets(cell, device, (cell.eval_split,)))
        self.precision, self._device = cell.settings.recipe["precision"], device

    def accuracy(self, model: Model, scored: ScoredSet) -> float:
        """Return the accuracy on a set in percent, of a masked one among its classes.

        Draws no random number of the training's.
        """
        batches = FeatureCache(scored.loader, self.precision, passes=1)
        with torch.random.fork_rng([self._device] if self._device.type == "cuda" else []):
            if scored.classes is None:
                return trainer.evaluate(model, batches, self.precision).accuracy
            _, masked = trainer.evaluate_masked(model, batches, self.precision, scored.classes)
            return masked.accuracy


@dataclass
class Start:
    """A callback that notes the model before the first epoch: its tensors, and its accuracies."""

    scorer: Scorer

    def __call__(self, observed: EpochState) -> None:
        if observed.epoch == 0:
            self.state: State = interpolation.copied_state(observed.model)
            self.accuracies = [
                self.scorer.accuracy(observed.model, one) for one in self.scorer.sets
            ]


def interpolable_cell(record: Record, along: Along, root: Path, device: str) -> Cell:
    """Rebuild the cell of a record that has such a path.

    Raises `UserError`, before any compute, where it has none, or as `export.cell_of_record` does.
    """
    if schema.is_trial(record.settings):
        raise UserError(f"cell {record.cell} is a trial; a final run was expected")
    if record.outcome is None:
        raise UserError(f"cell {record.cell} has no result, so no end to interpolate to")
    export.require_real(record)
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
    alphas, outcome = sorted({0.0, 1.0, *alphas}), record.outcome
    recorded = [outcome.accuracy, *(outcome.shifts[one.name].score for one in cell.shifts)]
    scores: list[SetScores] = []
    for (learnt, scored), known in ((TRIAL_SPLITS, []), (FINAL_SPLITS, recorded)):
        announce(f"training on {learnt}, then {len(alphas)} models are scored on each set")
        one = replace(cell, train_split=learnt, eval_split=scored)
        try:
            scores += _score(one, alphas, along, device, known)
        except (Unsupported, trainer.Diverged) as error:
            raise UserError(f"cell {record.cell} cannot be interpolated: {error}") from None
    s = record.settings
    return Interpolation(
        record.cell, along, s.suite, s.task, s.backbone, s.method, s.seed, alphas, scores
    )


def _score(
    cell: Cell,
    alphas: Sequence[float],
    along: Along,
    device: torch.device,
    recorded: Sequence[float],
) -> list[SetScores]:
    """Train the cell and score its path on each of its sets; `recorded` are those of its end.

    Without any, the end is held to what the training itself scored.
    """
    scorer = Scorer(cell, device)
    start = Start(scorer)
    trained = runner.train(cell, device, lambda *_: None, callback=start)
    ends = recorded or [trained.monitor.evaluations[cell.recipe.epochs].accuracy]
    make_path = interpolation.PATHS[along]
    path = make_path(trained.model, start.state, trained.backbone_tensor_ids)
    found: list[SetScores] = []
    table = [[scorer.accuracy(model, one) for one in scorer.sets] for model in map(path.at, alphas)]
    for one, accuracies in zip(scorer.sets, zip(*table, strict=True), strict=True):
        kind: Kind = "shift" if found else KINDS[cell.eval_split]
        found.append(SetScores(one.name, kind, len(one.loader.examples), [*accuracies]))
    for alpha, known in ((0.0, start.accuracies), (1.0, ends)):
        for scores, accuracy in zip(found, known, strict=True):
            _require_equal(scores, alphas.index(alpha), accuracy, alpha, scorer.precision)
    return found


def _require_equal(
    scores: SetScores, index: int, expected: float, alpha: float, precision: str
) -> None:
    """Raise `UserError` where the path's end is not what it should be, up to rounding."""
    found = scores.accuracies[index]
    if is_beyond_rounding(found, expected, scores.images, precision):
        raise UserError(
            f"at alpha = {alpha:g} the model scores {found:.2f} % on {scores.name}; "
            f"{expected:.2f} % was expected, of {ENDS[alpha]}: nothing was written"
        )
