"""What the fixed part of a model makes of a split's images, computed once and kept for the run.

An epoch then costs what the part that learns costs. Nothing else changes: the order of the images
and what dropout draws are those of a run without.

Kept is what passes between two stages. Of visual query tuning (vqt) that is nothing: its queries,
which learn, stand in every block, so no block is fixed, although the tokens that they ask are. To
keep those would take the input of each block, twelve times what moment probing (mp) keeps: 6.8 GiB
for 1,000 images of ViT-B/16 in fp32, above `SHARE` where less than 20.3 GiB are free. Its images
are read anew.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

from bench.data.distributed import ProcessGroup
from bench.data.loader import BatchLoader
from bench.models.frozen_trunk import SplitModel, forward_fn, split_at_first_trainable
from bench.training.trainer import autocast
from methods.shared import memory

FREE_MEMORY_FRACTION = 1 / 3  # of the free memory that the features of a split may take
SCORE_TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2}  # how far scores may differ, of the largest


@dataclass
class FeatureCache:
    """Batches that are read in so many `passes`: as features where they can be kept, or as images.

    What is kept is computed at the first pass; a change of the fixed part between two passes makes
    it computed anew. `note` says what was done and, where nothing is kept, why.
    """

    batches: BatchLoader
    precision: str
    passes: int

    def __post_init__(self) -> None:
        self.note = "not read"
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

    def forward_fn(self, model: VisionTransformer) -> Callable[[Tensor], Tensor]:
        """What makes scores of what the next pass gives: of features, the rest of `model`.

        Asked before each pass, for the model may have changed.
        """
        parts = self._split_model(model)
        mark = parts.fingerprint() if parts else None
        if not self.process_group.all_true(mark == self._fingerprint):
            self._features, self._fingerprint = None, mark
            self._features = self._compute_features(model, parts) if parts else None
        return parts.scores if parts and self._features is not None else forward_fn(model)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self._features is None:
            yield from self.batches
        else:
            for rows, labels in self.batches.indices_and_labels():
                yield self._features[rows], labels  # (B, ...), (B,)

    def _split_model(self, model: VisionTransformer) -> SplitModel | None:
        reasons = {"read once": self.passes == 1, "views vary": self.batches.transform.is_random}
        parts = None if any(reasons.values()) else split_at_first_trainable(model)
        if parts is None:
            why = next((why for why, holds in reasons.items() if holds), "no block is fixed")
            self.note = f"images: {why}"
        return parts

    @torch.no_grad()
    def _compute_features(self, model: VisionTransformer, parts: SplitModel) -> Tensor | None:
        """The features of all images, unless there is no room, or they give other scores."""
        with _eval_mode(model), autocast(self.device, self.precision):
            given = self.batches.in_order()
            rows, images = next(given)
            first = parts.features(images)
            if not self.process_group.all_true(self._has_room_for(first)):
                return None
            values = first.new_empty(len(self.batches.examples), *first.shape[1:])
            values[rows] = first
            for more, others in given:
                values[more] = parts.features(others)
            if not self.process_group.all_true(
                self._matches_full_model(model, parts, images, values[rows])
            ):
                return None
            self.process_group.all_gather(values)
            self.note = f"features: computed once, below {parts.rest[0].name}"
            return values

    def _has_room_for(self, first: Tensor) -> bool:
        needed = prod(first.shape[1:]) * first.element_size() * len(self.batches.examples)
        room = (
            FREE_MEMORY_FRACTION
            * memory.free_memory(self.device)
            / self.process_group.processes_per_device(self.device)
        )
        self.note = f"images: features of {_mib(needed)} MiB, room for {_mib(room)}"
        return needed <= room

    def _matches_full_model(
        self, model: VisionTransformer, parts: SplitModel, images: Tensor, first: Tensor
    ) -> bool:
        """Whether the first images, in another order, get the scores that the whole model gives.

        Their features are `first`. The whole model has its fixed part in training mode, where that
        must neither draw nor change.
        """
        self.note = "images: features alone give other scores"
        try:
            found = parts.scores(first.flip(0))
        except Exception:  # a module that needs what another saw may raise any kind
            return False
        mark, drawn = parts.fingerprint(), _rng_state(self.device)
        for module in (module for stage in parts.frozen for module in stage.modules()):
            module.training = True
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            want = model(images.flip(0))
            if mark != parts.fingerprint() or not torch.equal(drawn, _rng_state(self.device)):
                return False
        most = SCORE_TOLERANCE[self.precision] * want.abs().max().item()
        return torch.allclose(found, want, rtol=0, atol=most)


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _rng_state(device: torch.device) -> Tensor:
    """What tells whether random numbers were drawn."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _mib(count: float) -> str:
    return f"{count / 2**20:.2f}"
