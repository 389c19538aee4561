"""The columns of the ledger of parameters besides the counts, all from the registry.

A method's own statements are read from it, as `bench check-method` tests them; whether it merges is
tried on a small network, after a few steps.
"""

from dataclasses import dataclass

import torch

import methods
from bench.models import small_models
from methods import Method, Unsupported
from methods.shared.merge import merge_adapters

# Of the largest logit, in float64; some of peft's layers compute in float32, which rounds at 1e-7.
EXACT = 1e-6


@dataclass(frozen=True)
class Traits:
    """A method's start, merging, labels and tokens, as the ledger has them."""

    identity_at_start: bool
    merges: bool
    reads_labels: bool
    spatial_rule: str  # empty: all tokens alike

    def to_cells(self) -> list[str]:
        """Return the cells of a table."""
        flags = (self.identity_at_start, self.merges, self.reads_labels)
        return [*("yes" if flag else "no" for flag in flags), self.spatial_rule or "–"]


HEADER = ("identity at start", "merges exactly", "reads labels", "spatial rule")


def traits_of(name: str) -> Traits:
    """Return the traits of the method registered under `name`."""
    method = methods.create(name)
    return Traits(
        method.identity_at_start, merges_exactly(method), method.reads_labels, method.spatial_rule
    )


def merges_exactly(method: Method) -> bool:
    """Return whether a model that was trained with it folds into plain weights that score alike."""
    with small_models.double_precision():
        bare = small_models.small_backbone().double()
        model = small_models.train_briefly(method, small_models.prepare_copy(method, bare))
        images, _ = small_models.FakeBatches(torch.float64).batches[0]
        with torch.no_grad():
            before = model(images)
            try:
                merge_adapters(model)
            except Unsupported:
                return False
            apart = (model(images) - before).abs().max()
    return bool(apart <= EXACT * before.abs().max())
