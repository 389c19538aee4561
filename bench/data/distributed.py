"""Data-parallel training of one cell: one process, or several that each take a shard of a batch.

Several processes give the result of one, up to rounding: the gradient of the mean loss of a batch
is the sum of the shards' gradients of summed losses, divided by the number of images.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

IGNORE_INDEX = -100  # label of a padding row; cross-entropy ignores it
BUCKET_SIZE = 2**24  # elements all-reduced at a time: bounds the extra memory
RANK_SEED_STRIDE = 15_485_863  # between the seeds of two ranks
BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}

BatchPredictions = Sequence[tuple[Tensor, Tensor]]
"""Predicted classes and labels, (B,), of each batch."""


class ProcessGroup(Protocol):
    """The processes that train a cell, as one of them uses them."""

    @property
    def rank(self) -> int:
        """This process's number, from 0."""
        ...

    @property
    def world_size(self) -> int:
        """The number of processes."""
        ...

    @property
    def loss_reduction(self) -> str:
        """The `reduction` of the loss of a shard, as cross-entropy names it."""
        ...

    def broadcast_model(self, model: nn.Module) -> None:
        """Broadcast rank 0's tensors before training, and give each rank its own seed."""
        ...

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Broadcast rank 0's values in place."""
        ...

    def batch_shard(self, rows: Tensor) -> Tensor:
        """Return this rank's rows of a batch, (B,); at least one."""
        ...

    def label_shard(self, labels: Tensor) -> Tensor:
        """Return the labels, (B,), of this rank's rows of a batch."""
        ...

    def all_reduce_mean(self, loss: Tensor, labels: Tensor, parameters: Iterable[Tensor]) -> Tensor:
        """All-reduce the gradients in place; return the mean loss over the global batch, ``()``."""
        ...

    def gather_predictions(self, predictions: BatchPredictions) -> tuple[Tensor, Tensor]:
        """Gather every rank's predictions and labels, (images,), in the order of the split."""
        ...

    def split_shard(self, rows: Tensor) -> Tensor:
        """Return this rank's block of a split's rows, (images,)."""
        ...

    def all_gather(self, values: Tensor) -> None:
        """All-gather `values` in place; each rank has filled its own block of rows."""
        ...

    def gather(self, value: dict[str, Any]) -> list[dict[str, Any]]:
        """Return every rank's value, by rank."""
        ...

    def all_true(self, holds: bool) -> bool:
        """Return whether `holds` is true on every rank."""
        ...

    def processes_per_device(self, device: torch.device) -> int:
        """Return the number of processes that share the device's memory."""
        ...


@dataclass(frozen=True)
class SingleProcess:
    """A single process."""

    rank: int = 0
    world_size: int = 1
    loss_reduction: str = "mean"

    def broadcast_model(self, model: nn.Module) -> None:
        """Do nothing."""

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Do nothing."""

    def batch_shard(self, rows: Tensor) -> Tensor:
        return rows

    def label_shard(self, labels: Tensor) -> Tensor:
        return labels

    def all_reduce_mean(self, loss: Tensor, labels: Tensor, parameters: Iterable[Tensor]) -> Tensor:
        return loss

    def gather_predictions(self, predictions: BatchPredictions) -> tuple[Tensor, Tensor]:
        classes, labels = zip(*predictions, strict=True)
        return torch.cat(classes), torch.cat(labels)

    def split_shard(self, rows: Tensor) -> Tensor:
        return rows

    def all_gather(self, values: Tensor) -> None:
        """Do nothing."""

    def gather(self, value: dict[str, Any]) -> list[dict[str, Any]]:
        return [value]

    def all_true(self, holds: bool) -> bool:
        return holds

    def processes_per_device(self, device: torch.device) -> int:
        return 1


SINGLE_PROCESS = SingleProcess()


@dataclass(frozen=True)
class MultiProcess:
    """One of `world_size` processes; every rank makes the same calls in the same order."""

    rank: int
    world_size: int
    loss_reduction: str = "sum"

    def broadcast_model(self, model: nn.Module) -> None:
        self.broadcast((*model.parameters(), *model.buffers()))
        if self.rank:  # rank 0 draws what a single process would
            torch.manual_seed(torch.initial_seed() + RANK_SEED_STRIDE * self.rank)

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        for tensor in (tensor.detach() for tensor in tensors if tensor.numel()):
            sent = tensor.contiguous()
            dist.broadcast(_as_bytes(sent), 0)
            if sent.data_ptr() != tensor.data_ptr():
                tensor.copy_(sent)

    def batch_shard(self, rows: Tensor) -> Tensor:
        own = rows.tensor_split(self.world_size)[self.rank]
        return own if len(own) else rows[:1]  # an empty batch may break a model

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

    def gather_predictions(self, predictions: BatchPredictions) -> tuple[Tensor, Tensor]:
        every: list[BatchPredictions] = [()] * self.world_size
        dist.all_gather_object(
            every, [(classes.cpu(), labels.cpu()) for classes, labels in predictions]
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

    def gather(self, value: dict[str, Any]) -> list[dict[str, Any]]:
        every: list[dict[str, Any]] = [{}] * self.world_size
        dist.all_gather_object(every, value)
        return every

    def all_true(self, holds: bool) -> bool:
        found = torch.tensor([holds], dtype=torch.uint8)
        dist.all_reduce(found, dist.ReduceOp.MIN)
        return bool(found.item())

    def processes_per_device(self, device: torch.device) -> int:
        return self.world_size if device.type == "cpu" else 1


@contextmanager
def init_process_group(
    rank: int, world_size: int, device: torch.device, rendezvous_file: Path, timeout: float
) -> Iterator[MultiProcess]:
    """Join the process group through a rendezvous file that does not exist yet.

    Waiting longer than `timeout`, in seconds, for another rank is an error.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    limit = timedelta(seconds=timeout)
    dist.init_process_group(
        BACKENDS[device.type], rendezvous_file.as_uri(), limit, world_size, rank
    )
    yield MultiProcess(rank, world_size)
    dist.destroy_process_group()  # not after an error: it may wait for ranks that are gone


def _as_bytes(tensor: Tensor) -> Tensor:
    """View a contiguous tensor as bytes: not every dtype can be sent."""
    return tensor.flatten().view(torch.uint8)


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Group tensors into buckets of about `BUCKET_SIZE` elements."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(t.numel() for t in bucket) + tensor.numel() > BUCKET_SIZE:
            yield bucket
            bucket = []
        bucket.append(tensor)
    yield bucket


def _all_reduce_sum(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over all ranks."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))
