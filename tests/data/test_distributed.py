"""A batch split across processes: every row exactly once, padding excluded."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench.data.distributed import IGNORE_INDEX, SINGLE_PROCESS, MultiProcess


@pytest.mark.parametrize("rows", range(1, 9))
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_the_shards_of_a_batch_are_the_batch(rows, count):
    batch, labels = torch.arange(10, 10 + rows), torch.arange(rows)
    group = [MultiProcess(number, count) for number in range(count)]
    shards = [one.batch_shard(batch) for one in group]
    given = [one.label_shard(labels) for one in group]
    assert all(len(shard) == len(label) > 0 for shard, label in zip(shards, given, strict=True))
    counted = torch.cat(given) != IGNORE_INDEX
    assert torch.cat(shards)[counted].tolist() == batch.tolist()
    assert torch.cat(given)[counted].tolist() == labels.tolist()


def test_a_padding_row_counts_in_no_loss():
    one = torch.tensor([3])
    assert MultiProcess(0, 2).label_shard(one).tolist() == [3]
    assert MultiProcess(1, 2).label_shard(one).tolist() == [IGNORE_INDEX]
    scores = torch.randn(1, 5)
    assert F.cross_entropy(scores, MultiProcess(1, 2).label_shard(one), reduction="sum") == 0


def test_the_shards_of_a_split_are_the_split():
    rows = torch.arange(10)
    shards = [MultiProcess(number, 3).split_shard(rows) for number in range(3)]
    assert torch.cat(shards).tolist() == rows.tolist()


def test_one_process_takes_all():
    rows = torch.arange(4)
    assert (
        SINGLE_PROCESS.batch_shard(rows)
        is SINGLE_PROCESS.label_shard(rows)
        is SINGLE_PROCESS.split_shard(rows)
        is rows
    )
    classes, labels = SINGLE_PROCESS.gather_predictions([(rows, rows + 1), (rows + 4, rows)])
    assert classes.tolist() == list(range(8))
    assert labels.tolist() == [1, 2, 3, 4, 0, 1, 2, 3]


def test_each_process_draws_numbers_of_its_own_and_the_first_those_of_one_alone(monkeypatch):
    monkeypatch.setattr(MultiProcess, "broadcast", lambda group, tensors: None)

    def drawn(group):
        torch.manual_seed(5)
        group.broadcast_model(nn.Linear(1, 1))
        return torch.rand(3).tolist()

    alone, first, second, third = map(
        drawn, (SINGLE_PROCESS, *(MultiProcess(n, 3) for n in range(3)))
    )
    assert alone == first
    assert len({tuple(numbers) for numbers in (first, second, third)}) == 3


def test_all_start_from_the_first_one_s_parameters_and_buffers(monkeypatch):
    given = []
    monkeypatch.setattr(MultiProcess, "broadcast", lambda group, tensors: given.extend(tensors))
    model = nn.BatchNorm1d(3)
    MultiProcess(1, 2).broadcast_model(model)
    whole = model.state_dict(keep_vars=True).values()
    assert {id(tensor) for tensor in given} == {id(tensor) for tensor in whole}
