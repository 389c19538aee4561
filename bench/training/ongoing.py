"""A training between two epochs: its model and batches, and what its epochs change."""

from dataclasses import dataclass

from bench.models.training_tensors import TrainingTensors
from bench.training.callbacks import TrainingMonitor
from bench.training.feature_cache import FeatureCache
from bench.training.start import InitStats
from bench.training.trainer import TrainingState
from methods.shared.base import Model


@dataclass(frozen=True)
class SplitBatches:
    """The batches of training and of evaluation, each with its feature cache."""

    train: FeatureCache
    test: FeatureCache

    def loading_notes(self) -> dict[str, str]:
        """Return how images and features of each split were loaded."""
        return {
            "read_in_training": (self.train.decision or self.train).note,
            "read_in_testing": (self.test.decision or self.test).note,
            "images_in_training": self.train.batches.note,
            "images_in_testing": self.test.batches.note,
        }


@dataclass(frozen=True)
class OngoingTraining:
    """A model after any number of epochs, and all that further epochs need and change."""

    model: Model
    tensors: TrainingTensors
    init: InitStats
    batches: SplitBatches
    eval_images: int
    state: TrainingState
    monitor: TrainingMonitor
