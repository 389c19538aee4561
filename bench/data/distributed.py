"""The processes that train one cell: one alone, or several that take a part of every batch each.

Several give what one alone gives, but for rounding: the gradient of a batch's mean loss is the sum
of what its parts give, over the number of its images.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

IGNORE_INDEX = -100  # the label of a row that is no part of the batch; cross-entropy leaves it out
BUCKET_SIZE = (
    2**24
)  # numbers that are summed at a time: what this takes of memory beside the gradients
RANK_SEED_STRIDE = 15_485_863  # between the seeds of two processes
BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}

BatchPredictions = Sequence[tuple[Tensor, Tensor]]
"""Predicted and right classes, (B,), of batch after batch."""


class ProcessGroup(Protocol):
    """Who trains a cell, as seen by one of its processes."""

    @property
    def world_size(self) -> int:
        """How many there are."""
        ...

    @property
    def loss_reduction(self) -> str:
        """What each makes of the losses of its part of a batch, as cross-entropy names it."""
        ...

    def broadcast_model(self, model: nn.Module) -> None:
        """Before training: the first process's tensors for all, other random numbers for each."""
        ...

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Give all processes the first one's values."""
        ...

    def batch_shard(self, rows: Tensor) -> Tensor:
        """Those rows of a batch, (B,), that this process takes: one at the least."""
        ...

    def label_shard(self, labels: Tensor) -> Tensor:
        """The labels of these rows, of a batch's, (B,)."""
        ...

    def all_reduce_mean(self, loss: Tensor, labels: Tensor, parameters: Iterable[Tensor]) -> Tensor:
        """The mean loss of a batch, of its part's, ``()``; makes the gradients the batch's."""
        ...

    def gather_predictions(self, answers: BatchPredictions) -> tuple[Tensor, Tensor]:
        """All the answers, (images,), in the split's order, of this process's."""
        ...

    def split_shard(self, rows: Tensor) -> Tensor:
        """Those rows of a split, (images,), whose features this process computes."""
        ...

    def all_gather(self, values: Tensor) -> None:
        """Fill in what others computed: every process has set its own block of `values`."""
        ...

    def all_true(self, holds: bool) -> bool:
        """Whether it holds for all processes."""
        ...

    def processes_per_device(self, device: torch.device) -> int:
        """How many processes share that device's memory."""
        ...


@dataclass(frozen=True)
class SingleProcess:
    """One process that does it all."""

    world_size: int = 1
    loss_reduction: str = "mean"

    def broadcast_model(self, model: nn.Module) -> None:
        """Nothing to be done."""

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Nothing to be done."""

    def batch_shard(self, rows: Tensor) -> Tensor:
        return rows

    def label_shard(self, labels: Tensor) -> Tensor:
        return labels

    def all_reduce_mean(self, loss: Tensor, labels: Tensor, parameters: Iterable[Tensor]) -> Tensor:
        return loss

    def gather_predictions(self, answers: BatchPredictions) -> tuple[Tensor, Tensor]:
        classes, labels = zip(*answers, strict=True)
        return torch.cat(classes), torch.cat(labels)

    def split_shard(self, rows: Tensor) -> Tensor:
        return rows

    def all_gather(self, values: Tensor) -> None:
        """Nothing to be done."""

    def all_true(self, holds: bool) -> bool:
        return holds

    def processes_per_device(self, device: torch.device) -> int:
        return 1


SINGLE_PROCESS = SingleProcess()


@dataclass(frozen=True)
class MultiProcess:
    """One of `count` processes, that with the `number`, from 0; all call the same in turn."""

    rank: int
    world_size: int
    loss_reduction: str = "sum"

    def broadcast_model(self, model: nn.Module) -> None:
        self.broadcast((*model.parameters(), *model.buffers()))
        if self.rank:  # the first draws what one alone would
            torch.manual_seed(torch.initial_seed() + RANK_SEED_STRIDE * self.rank)

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        for tensor in (tensor.detach() for tensor in tensors if tensor.numel()):
            sent = tensor.contiguous()
            dist.broadcast(_as_bytes(sent), 0)
            if sent.data_ptr() != tensor.data_ptr():
                tensor.copy_(sent)

    def batch_shard(self, rows: Tensor) -> Tensor:
        own = rows.tensor_split(self.world_size)[self.rank]
        return own if len(own) else rows[:1]  # a model need not know what to make of no image

    def label_shard(self, labels: Tensor) -> Tensor:
        own = labels.tensor_split(self.world_size)[self.rank]
        return own if len(own) else torch.full_like(labels[:1], IGNORE_INDEX)

    def all_reduce_mean(self, loss: Tensor, labels: Tensor, parameters: Iterable[Tensor]) -> Tensor:
        gradients = [p.grad for p in parameters if p.grad is not None]
        sums = torch.stack([loss, (labels != IGNORE_INDEX).sum().to(loss)])
        for bucket in _buckets([sums, *gradients]):
            _all_reduce_sum(bucket)
        for gradient in gradients:
            gradient.div_(sums[1])
        return sums[0] / sums[1]

    def gather_predictions(self, answers: BatchPredictions) -> tuple[Tensor, Tensor]:
        every: list[BatchPredictions] = [()] * self.world_size
        dist.all_gather_object(
            every, [(classes.cpu(), labels.cpu()) for classes, labels in answers]
        )
        parts = (part for batch in zip(*every, strict=True) for part in batch)
        classes, labels = map(torch.cat, zip(*parts, strict=True))
        counted = labels != IGNORE_INDEX
        return classes[counted], labels[counted]

    def split_shard(self, rows: Tensor) -> Tensor:
        return rows.tensor_split(self.world_size)[self.rank]

    def all_gather(self, values: Tensor) -> None:
        for owner, block in enumerate(values.tensor_split(self.world_size)):
            dist.broadcast(_as_bytes(block), owner)

    def all_true(self, holds: bool) -> bool:
        found = torch.tensor([holds], dtype=torch.uint8)
        dist.all_reduce(found, dist.ReduceOp.MIN)
        return bool(found.item())

    def processes_per_device(self, device: torch.device) -> int:
        return self.world_size if device.type == "cpu" else 1


@contextmanager
def init_process_group(
    number: int, count: int, device: torch.device, meeting: Path, deadline: float
) -> Iterator[MultiProcess]:
    """This process as one of several, which meet at a file that is not there yet.

    What one of them waits for longer than `deadline`, in seconds, is an error.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    limit = timedelta(seconds=deadline)
    dist.init_process_group(BACKENDS[device.type], meeting.as_uri(), limit, count, number)
    yield MultiProcess(number, count)
    dist.destroy_process_group()  # not after an error: it may wait for those that are gone


def _as_bytes(tensor: Tensor) -> Tensor:
    """Those of a tensor without gaps: not every type can travel."""
    return tensor.flatten().view(torch.uint8)


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors, so many at a time that they hold about `BUCKET` numbers."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(t.numel() for t in bucket) + tensor.numel() > BUCKET_SIZE:
            yield bucket
            bucket = []
        bucket.append(tensor)
    yield bucket


def _all_reduce_sum(tensors: Sequence[Tensor]) -> None:
    """Make each the sum of the processes' own."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))
