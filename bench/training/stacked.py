"""Training of several trials in one pass: the loop of `trainer.fit` for a stack of models.

The trials differ only in their rates, so they share start, batches and random draws. Each has its
own optimiser and schedule, and may end independently.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bench.config.recipe import Recipe
from bench.models.training_mode import set_training_mode
from bench.training import trainer
from bench.training.feature_cache import FeatureCache
from bench.training.random_state import random_state, same_state, set_random_state
from bench.training.stack_check import NO_EFFECTS, TOLERANCE, StepEffects, check_stack
from bench.training.stacking import NotStackable, copy_model, stack_models
from bench.training.trainer import LossFunction, TrainingState
from methods import Method
from methods.shared.base import Model

PROBES = 2  # models of the first check, where all are equal


@dataclass(eq=False)
class StackedTrial:
    """One of the models that are trained in a pass."""

    model: Model
    method: Method
    recipe: Recipe
    lr: float  # the peak, before scaling by batch size
    after_epoch: Callable[[int, float], None]  # evaluates and reports
    losses: list[float] = field(default_factory=list)  # mean per epoch
    failure: Exception | None = None  # what ended it before its last epoch

    def end_epoch(self, epoch: int, step_losses: Tensor) -> None:
        """Finish an epoch given the losses of its steps; an error ends only this trial."""
        try:
            self.losses.append(trainer.mean_loss(list(step_losses), (epoch - 1) * len(step_losses)))
            self.method.after_epoch(self.model, epoch)
            self.after_epoch(epoch, self.losses[-1])
        except Exception as error:
            self.failure = error


@dataclass
class StackedTraining:
    """Trains trials whose models are copies of `original`, which they share frozen tensors with.

    The original is used for the first check, and changed.
    """

    trials: Sequence[StackedTrial]
    original: Model
    shared_ids: Collection[int]  # of the frozen tensors of which copies are not made
    batches: FeatureCache
    precision: str

    def __post_init__(self) -> None:
        self._effects: StepEffects = NO_EFFECTS
        self._random = dict.fromkeys(self.trials, random_state(self.batches.device))
        self._states = {
            trial: TrainingState.at_start(
                trial.model, trial.method, trial.recipe, trial.lr, len(self.batches)
            )
            for trial in self.trials
        }

    def fit(self) -> Iterator[StackedTrial]:
        """Train all trials; yield each when it has ended, with its `failure` if it has one.

        A trial that fails ends after its epoch, and the others go on. Raises `NotStackable` where
        one pass would not give what each trial gives alone.
        """
        running, shared = list(self.trials), self._shared_versions()
        for epoch in range(1, self.trials[0].recipe.epochs + 1):
            step_losses = self._train_epoch(running, epoch)  # (steps, K)
            self._end_epoch(running, epoch, step_losses)
            yield from (trial for trial in running if trial.failure)
            running = [trial for trial in running if not trial.failure]
            if not running:
                return
            if self._shared_versions() != shared:
                raise NotStackable("weights that the models share change in training")
        yield from running

    def _end_epoch(self, running: Sequence[StackedTrial], epoch: int, step_losses: Tensor) -> None:
        """Conclude an epoch of each trial, with the random numbers that it has when alone."""
        device, draws = self.batches.device, self._effects.draws
        after_steps = random_state(device)
        for i, trial in enumerate(running):
            set_random_state(device, after_steps if draws else self._random[trial])
            trial.end_epoch(epoch, step_losses[:, i])
            self._random[trial] = random_state(device)
        states = [self._random[trial] for trial in running if not trial.failure]
        if draws and not all(same_state(one, states[0]) for one in states):
            raise NotStackable("the models draw random numbers of their own between epochs")
        if states:
            set_random_state(device, states[0])

    def _train_epoch(self, running: Sequence[StackedTrial], epoch: int) -> Tensor:
        """Train the trials for an epoch; return the losses of its steps, (steps, K)."""
        models = [trial.model for trial in running]
        for model in models:
            set_training_mode(model)
        first, step, found = running[0], None, []
        forward = self.batches.forward_fn(first.model)
        loss = trainer.loss_fn(first.method, first.model, forward, self.precision)
        for inputs, labels in self.batches:
            if step is None:
                self._check(running, epoch, inputs, labels)
                step = self._stacked_step(running, loss)
            found.append(step(inputs, labels))
        return torch.stack(found)

    def _stacked_step(
        self, running: Sequence[StackedTrial], loss: LossFunction
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """Stack the models; return the step of all on a batch, which returns the losses, (K,)."""
        stack = stack_models([trial.model for trial in running], self._effects.written)
        states = [self._states[trial] for trial in running]

        def step(inputs: Tensor, labels: Tensor) -> Tensor:
            gradients, losses = stack.gradients(loss, inputs, labels)
            for name in gradients.keys() - self._effects.unused:
                stack.set_gradients(name, gradients[name])
            for state in states:
                state.optimiser.step()
                state.scheduler.step()
            return losses

        return step

    def _check(
        self, running: Sequence[StackedTrial], epoch: int, inputs: Tensor, labels: Tensor
    ) -> None:
        """On the epoch's first batch, check that the models can be stacked, unless this is known.

        It is after the first epoch, unless the method does something between epochs.
        """
        method = running[0].method
        if epoch > 1 and type(method).after_epoch is Method.after_epoch:
            return
        models = [trial.model for trial in running][: PROBES if epoch == 1 else None]
        references = [copy_model(model, self.shared_ids) for model in models]
        probes = [copy_model(model, self.shared_ids) for model in models]
        if epoch == 1:
            set_training_mode(self.original)
            references[0] = self.original

        def loss_of(model: Model) -> LossFunction:
            forward = self.batches.forward_fn_of_copy(model)
            return trainer.loss_fn(method, model, forward, self.precision)

        tolerance = TOLERANCE[self.precision]
        self._effects = check_stack(references, probes, loss_of, inputs, labels, tolerance)

    def _shared_versions(self) -> list[int]:
        """Return how often each tensor that the models share has been changed in place."""
        parameters = self.trials[0].model.parameters()
        return [t._version for t in parameters if id(t) in self.shared_ids]
