"""Prefetching: worker processes prepare batches ahead, within a bounded amount of memory."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.utils import parallel
from bench.utils.errors import UserError

PREFETCH_FACTOR = 2  # batches that each worker prepares ahead
MIN_ITEMS_FOR_WORKERS = 64  # with fewer, starting processes costs more than it saves
_USER_ERROR = f"{UserError.__module__}.{UserError.__name__}: "


class PrefetchLoader:
    """Batches of a dataset from worker processes that persist between epochs.

    Each worker prepares at most `PREFETCH_FACTOR` batches ahead. `collate` makes one tensor of the
    items of a batch; without it they are stacked. `pinned` memory allows asynchronous copies to a
    GPU.
    """

    def __init__(
        self,
        dataset: Dataset[Tensor],
        items: int,
        collate: Callable[[list[Tensor]], Tensor] | None = None,
        pinned: bool = False,
    ):
        self._dataset, self._collate, self._pin_memory = dataset, collate, pinned
        self._workers = worker_count(items)
        self._idle_loader: tuple[DataLoader[Tensor], list[Any]] | None = None

    def batches(self, batch_keys: Sequence[Sequence[Any]]) -> Iterator[Tensor]:
        """Yield the batch of each sequence of keys; raises the dataset's `UserError`s."""
        loader, keys = self._idle_loader or self._start_loader()
        self._idle_loader, keys[:] = None, batch_keys  # concurrent epochs do not share workers
        try:
            yield from loader
        except UserError as error:
            # the message holds the worker's traceback; this one would keep workers alive
            del loader
            last = str(error.with_traceback(None)).splitlines()[-1]
            raise UserError(last.removeprefix(_USER_ERROR)) from None
        self._idle_loader = loader, keys

    def _start_loader(self) -> tuple["DataLoader[Tensor]", list[Any]]:
        keys: list[Any] = []
        loader = DataLoader(
            self._dataset,
            batch_sampler=keys,  # read at the start of each epoch
            num_workers=self._workers,
            collate_fn=self._collate,
            pin_memory=self._pin_memory,
            generator=torch.Generator(),  # without one, a loader draws from the global generator
            prefetch_factor=PREFETCH_FACTOR if self._workers else None,
            persistent_workers=self._workers > 0,
        )
        return loader, keys


def worker_count(items: int) -> int:
    """Return the number of workers: none for few items, else one for each available core."""
    return min(8, parallel.available_cores()) if items >= MIN_ITEMS_FOR_WORKERS else 0
