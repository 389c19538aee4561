"""Subsets of a split: shares drawn by class and seed, and rows of any kind."""

from pathlib import Path

import torch

from bench.data import splits


def test_a_share_takes_as_much_of_each_class_and_smaller_ones_lie_within_larger() -> None:
    labels = torch.tensor([0] * 10 + [1] * 5 + [2])
    examples = splits.Examples(labels, torch.arange(16, dtype=torch.uint8).view(-1, 1, 1, 1))
    tenth, half = (
        splits.stratified_subset(examples, 0.1, seed=3),
        splits.stratified_subset(examples, 0.5, seed=3),
    )
    assert half.labels.bincount().tolist() == [5, 3, 1]
    assert tenth.labels.bincount().tolist() == [1, 1, 1]
    numbers = [set(one.pixels.flatten().tolist()) for one in (tenth, half)]
    assert numbers[0] < numbers[1]
    other = splits.stratified_subset(examples, 0.5, seed=4).pixels.flatten().tolist()
    assert set(other) != numbers[1]


def test_a_share_of_files_keeps_what_belongs_together() -> None:
    names = tuple("abcd")
    paths = tuple(Path(name) for name in names)
    examples = splits.Examples(torch.tensor([0, 1, 0, 1]), None, paths, (), names, names)
    found = splits.subset(examples, torch.tensor([3, 0]))
    assert found.labels.tolist() == [1, 0]
    assert found.files == (Path("d"), Path("a"))
    assert found.names == found.origins == ("d", "a")


def classes(*counts: int) -> splits.Examples:
    """`counts[c]` images of each class c, whose pixels are their numbers; classes take turns."""
    labels = [label for i in range(max(counts)) for label, n in enumerate(counts) if i < n]
    pixels = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1)
    return splits.Examples(torch.tensor(labels), pixels)


def test_a_share_is_rounded_up_in_each_class_and_keeps_the_order_and_the_labels():
    whole = classes(9, 4, 1)
    found = splits.stratified_subset(whole, 0.3, seed=0)
    assert found.labels.bincount().tolist() == [3, 2, 1]
    numbers = found.pixels[:, 0, 0, 0].tolist()
    assert numbers == sorted(numbers)
    assert found.labels.tolist() == whole.labels[numbers].tolist()


def test_a_share_is_drawn_by_its_seed_and_lies_within_a_larger_one():
    whole = classes(20, 20)

    def chosen(share, seed):
        return set(splits.stratified_subset(whole, share, seed).pixels[:, 0, 0, 0].tolist())

    assert chosen(0.5, 1) == chosen(0.5, 1)
    assert len({frozenset(chosen(0.5, seed)) for seed in range(4)}) > 1
    assert chosen(0.2, 1) < chosen(0.5, 1) < chosen(1.0, 1) == set(range(40))


def test_shots_are_so_many_of_each_class_and_fewer_lie_within_more():
    whole = classes(20, 20, 3)

    def drawn(shots, seed):
        return splits.draw_shots(whole, shots, seed)

    assert drawn(4, 1).labels.bincount().tolist() == [4, 4, 3]
    numbers = [drawn(shots, 1).pixels[:, 0, 0, 0].tolist() for shots in (1, 2, 4)]
    assert set(numbers[0]) < set(numbers[1]) < set(numbers[2])
    assert all(one == sorted(one) for one in numbers)
    assert numbers[2] != drawn(4, 2).pixels[:, 0, 0, 0].tolist()
