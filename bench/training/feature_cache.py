"""Cache of the frozen trunk's outputs: computed once per run, reused every epoch.

An epoch then costs only the forward and backward pass of the layers from the first trainable one
on. Nothing else changes: the order of the images and the draws of dropout are those of a run
without the cache.

The cache holds the tokens between two steps of the forward pass. Visual query tuning (vqt) has no
such place: its trainable queries are in every block, so no block is frozen, although the tokens
that they attend to are. A cache of every block's input would take twelve times the memory of
moment probing's (mp): 6.8 GiB for 1,000 images of ViT-B/16 in fp32, above `FREE_MEMORY_FRACTION`
with less than 20.3 GiB free. Its images are read in every epoch.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from bench.data.distributed import ProcessGroup
from bench.data.loader import BatchLoader
from bench.models.frozen_trunk import SplitModel, forward_fn, split_at_first_trainable
from bench.models.training_mode import keeps_statistics
from bench.training.random_state import random_state, same_state
from bench.training.trainer import autocast
from methods.shared import memory
from methods.shared.base import Model
from methods.shared.modes import eval_mode

NOT_READ = "not read"
FREE_MEMORY_FRACTION = 1 / 3  # of the free memory, for the features of one split
LOGIT_TOLERANCE = {"fp32": 1e-4, "tf32": 2e-3, "bf16": 2e-2}  # relative to the largest logit


@dataclass(frozen=True)
class CacheDecision:
    """Whether features were cached, and the note that says so, or why not."""

    uses_features: bool
    note: str


@dataclass
class FeatureCache:
    """Batches of cached features where possible, otherwise of images, for `passes` over a split.

    The features are computed in the first pass, and again if the frozen tensors change between two
    passes. `note` says what was cached or, if nothing was, why. After a checkpoint the first pass
    keeps to the `earlier` decision, as features and images round differently; features that do not
    fit into memory any more are not cached.
    """

    batches: BatchLoader
    precision: str
    passes: int
    earlier: CacheDecision | None = None

    def __post_init__(self) -> None:
        self.note = NOT_READ
        self._features: Tensor | None = None  # (images, ...)
        self._fingerprint: tuple[object, ...] | None = None

    def __len__(self) -> int:
        return len(self.batches)

    @property
    def device(self) -> torch.device:
        return self.batches.device

    @property
    def process_group(self) -> ProcessGroup:
        return self.batches.process_group

    @property
    def decision(self) -> CacheDecision | None:
        """The decision of the passes so far; of a checkpoint before, if there were none."""
        if self.note == NOT_READ:
            return self.earlier
        return CacheDecision(self._features is not None, self.note)

    def forward_fn(self, model: Model) -> Callable[[Tensor], Tensor]:
        """Return the function from the next pass's inputs to logits: for features, the layers left.

        Called before each pass: the model may have changed.
        """
        split = self._split_model(model)
        fingerprint = split.fingerprint() if split else None
        if not self.process_group.all_true(fingerprint == self._fingerprint):
            self._features, self._fingerprint = None, fingerprint
            self._features = self._compute_features(model, split) if split else None
            self.earlier = None
        return split.logits if split and self._features is not None else forward_fn(model)

    def forward_fn_of_copy(self, model: Model) -> Callable[[Tensor], Tensor]:
        """Return the function from this pass's inputs to logits for another model.

        Its frozen tensors must be those of the model of this pass.
        """
        split = split_at_first_trainable(model) if self._features is not None else None
        return split.logits if split else forward_fn(model)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self._features is None:
            yield from self.batches
        else:
            for rows, labels in self.batches.indices_and_labels():
                yield self._features[rows], labels  # (B, ...), (B,)

    def _split_model(self, model: Model) -> SplitModel | None:
        if self.earlier and not self.earlier.uses_features:
            self.note = self.earlier.note
            return None
        reasons = {"read once": self.passes == 1, "views vary": self.batches.transform.is_random}
        split = None if any(reasons.values()) else split_at_first_trainable(model)
        if split is None:
            why = next((why for why, holds in reasons.items() if holds), "no block is fixed")
            self.note = f"images: {why}"
        return split

    def _compute_features(self, model: Model, split: SplitModel) -> Tensor | None:
        """Compute the features of all images; None if they do not fit or give other logits."""
        with eval_mode(model), autocast(self.device, self.precision):
            batches = self.batches.in_order()
            first_rows, images = next(batches)
            first = split.features(images)
            if not self.process_group.all_true(self._fits_in_memory(first)):
                return None
            features = first.new_empty(len(self.batches.examples), *first.shape[1:])
            features[first_rows] = first
            for rows, others in batches:
                features[rows] = split.features(others)
            if not self.earlier and not self.process_group.all_true(
                self._matches_full_model(model, split, images, features[first_rows])
            ):
                return None
            self.process_group.all_gather(features)
            self.note = f"features: computed once, below {split.rest[0].name}"
            return features

    def _fits_in_memory(self, first: Tensor) -> bool:
        """Return whether the features of the split fit, given those of the first batch."""
        needed = prod(first.shape[1:]) * first.element_size() * len(self.batches.examples)
        free = memory.free_memory(self.device)
        room = FREE_MEMORY_FRACTION * free / self.process_group.processes_per_device(self.device)
        self.note = f"images: features of {_mib(needed)} MiB, room for {_mib(room)}"
        return needed <= room

    def _matches_full_model(
        self, model: Model, split: SplitModel, images: Tensor, features: Tensor
    ) -> bool:
        """Return whether the first images get the full model's logits, in another order.

        `features` are those of the images. The full model has its frozen steps in training mode,
        where they must neither draw random numbers nor change.
        """
        self.note = "images: features alone give other scores"
        try:
            logits = split.logits(features.flip(0))
        except Exception:  # a module that needs what a skipped one saw may raise any kind
            return False
        fingerprint, rng_state = split.fingerprint(), random_state(self.device)
        for module in (module for step in split.frozen for module in step.modules()):
            module.training = not keeps_statistics(module)
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            expected = model(images.flip(0))
            drawn = not same_state(rng_state, random_state(self.device))
        if drawn or fingerprint != split.fingerprint():
            return False
        atol = LOGIT_TOLERANCE[self.precision] * expected.abs().max().item()
        return torch.allclose(logits, expected, rtol=0, atol=atol)


def _mib(size: float) -> str:
    return f"{size / 2**20:.2f}"
