"""Tensors that worker processes make ahead of who asks for them, in memory that has a bound."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.utils import parallel
from bench.utils.errors import UserError

PREFETCH_FACTOR = 2  # batches that each worker may have ready
MIN_ITEMS_FOR_WORKERS = 64  # items below which starting a process costs more than it saves
_USER_ERROR = f"{UserError.__module__}.{UserError.__name__}: "


class PrefetchLoader:
    """Passes over a data set in batches; the workers of one stay for the next.

    What is ready and not yet taken is at most `AHEAD` batches a worker. `join` makes one tensor of
    a batch's; without it they are stacked. `pinned` memory is what a GPU copies from without
    making the processor wait.
    """

    def __init__(
        self,
        made: Dataset[Tensor],
        items: int,
        join: Callable[[list[Tensor]], Tensor] | None = None,
        pinned: bool = False,
    ):
        self._dataset, self._collate, self._pin_memory = made, join, pinned
        self._workers = worker_count(items)
        self._idle_loader: tuple[DataLoader[Tensor], list[Any]] | None = None

    def batches(self, chosen: Sequence[Sequence[Any]]) -> Iterator[Tensor]:
        """What the data set makes of the keys in each of `chosen`; raises its `UserError`s."""
        loader, keys = self._idle_loader or self._start_loader()
        self._idle_loader, keys[:] = None, chosen  # two passes at a time do not share their workers
        try:
            yield from loader
        except UserError as error:
            # a worker's error tells its traceback; its own would keep the workers for seconds
            del loader
            last = str(error.with_traceback(None)).splitlines()[-1]
            raise UserError(last.removeprefix(_USER_ERROR)) from None
        self._idle_loader = loader, keys

    def _start_loader(self) -> tuple["DataLoader[Tensor]", list[Any]]:
        keys: list[Any] = []
        loader = DataLoader(
            self._dataset,
            batch_sampler=keys,  # read anew at the start of each pass
            num_workers=self._workers,
            collate_fn=self._collate,
            pin_memory=self._pin_memory,
            generator=torch.Generator(),  # without one, a loader draws from the global generator
            prefetch_factor=PREFETCH_FACTOR if self._workers else None,
            persistent_workers=self._workers > 0,
        )
        return loader, keys


def worker_count(items: int) -> int:
    """How many processes work: none for a few items, else one a core that is ours to use."""
    return min(8, parallel.available_cores()) if items >= MIN_ITEMS_FOR_WORKERS else 0
