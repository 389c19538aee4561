"""Labels of copies, checked against sequences that follow from keys and published lists."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from bench.config.suite import HashRange, Split, Task, load_suite
from bench.data import prepared
from bench.prepare import sampling, writer
from bench.prepare.folder_check import FolderImage
from bench.prepare.sampling import digest_of_labels, keys_by_rank, order_by_hash
from support import suite_copies, tiny
from support.source_keys import numbered_keys

VTAB = load_suite("vtab1k")
LATENTS = (3, 6, 40, 32, 32)  # shapes, scales, orientations, x, y; the last runs fastest
EUROSAT = {"AnnualCrop": 3000, "Forest": 3000, "HerbaceousVegetation": 3000, "Highway": 2500,
           "Industrial": 2500, "Pasture": 2000, "PermanentCrop": 2500, "Residential": 3000,
           "River": 2500, "SeaLake": 3000}  # fmt: skip
SVHN = (1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595)  # test images of each digit
SEQUENCES = {"dsprites_loc", "dsprites_ori", "eurosat", "resisc45", "dtd", "sun397",
             "oxford_iiit_pet", "oxford_flowers102", "diabetic_retinopathy"}  # fmt: skip
SPLITS: tuple[Split, ...] = ("train", "val")


def stand(task: Task, split: Split, labels: Sequence[int]) -> None:
    """Assert that the card's digests are those of the labels."""
    ranks = task.ranks[split]
    assert len(labels) in task.counts[split]
    assert ranks.histogram == digest_of_labels(sorted(labels))
    assert ranks.labels in ("", digest_of_labels(labels))


def test_the_tasks_whose_labels_are_known_are_these() -> None:
    assert {task.name for task in VTAB.task if task.ranks["train"].labels} == SEQUENCES
    assert {task.name for task in VTAB.task if task.ranks["val"].labels} == SEQUENCES - {
        "diabetic_retinopathy"
    }
    counted = {task.name for task in VTAB.task if task.ranks["test"].histogram}
    assert counted == SEQUENCES - {"oxford_iiit_pet", "diabetic_retinopathy"} | {"cifar", "svhn"}


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", ["dsprites_loc", "dsprites_ori"])
def test_the_labels_of_dsprites_follow_from_the_numbers_of_its_sprites(name: str) -> None:
    task = VTAB.find(name)
    assert task.label is not None
    numbers = list(map(int, order_by_hash("train", numbered_keys(task.keys["train"]))))
    place = ("shape", "scale", "orientation", "x", "y").index(task.label.fact)
    for split, ranks in task.ranks.items():
        facts = np.unravel_index(numbers[ranks.first : ranks.last], LATENTS)[place].tolist()
        stand(task, split, [math.floor(fact / task.label.divide) for fact in facts])


def test_the_labels_of_eurosat_follow_from_its_class_counts() -> None:
    task = VTAB.find("eurosat")
    keys = [f"{name}_{name}_{i + 1}.jpg" for name, n in EUROSAT.items() for i in range(n)]
    for split, ranks in task.ranks.items():
        names = [key.partition("_")[0] for key in keys_by_rank(ranks, keys)]
        stand(task, split, [list(EUROSAT).index(name) for name in names])


def test_published_counts_give_the_histograms_of_two_test_splits() -> None:
    stand(VTAB.find("svhn"), "test", [d for d, count in enumerate(SVHN) for _ in range(count)])
    stand(VTAB.find("cifar"), "test", [label for label in range(100) for _ in range(100)])


def keys_of(shared: Path, task: Task, split: Split) -> list[str]:
    golden = json.loads(
        (shared / "golden" / "vtab1k_selection_keys.json").read_text(encoding="utf-8")
    )
    keys = golden[task.name]["train800" if split == "train" else "val200"]
    return order_by_hash(task.ranks[split].source, keys)


CLASS_IN: dict[str, Callable[[str], str]] = {
    "dtd": lambda key: key.split("/")[0],
    "resisc45": lambda key: key.rsplit("_", 1)[0],
    "oxford_iiit_pet": lambda key: key.rpartition("_")[0].lower(),
}


@pytest.mark.parametrize("name", CLASS_IN)
def test_labels_follow_from_keys_that_name_the_class(name: str, shared: Path) -> None:
    task, named = VTAB.find(name), CLASS_IN[name]
    keys = {split: [named(key) for key in keys_of(shared, task, split)] for split in SPLITS}
    order = sorted({*keys["train"], *keys["val"]})
    assert len(order) == task.classes
    for split in SPLITS:
        stand(task, split, [order.index(key) for key in keys[split]])


def test_the_labels_of_flowers_are_those_of_vpts_lists(shared: Path) -> None:
    task, folder = VTAB.find("oxford_flowers102"), shared / "golden" / "fgvc" / "oxfordflowers"
    for split in ("train", "val", "test"):
        listed = json.loads((folder / f"{split}.json").read_text(encoding="utf-8"))
        classes = {path.rpartition("/")[2]: int(number) - 1 for path, number in listed.items()}
        keys = classes if split == "test" else keys_of(shared, task, split)
        stand(task, split, [classes[key] for key in keys])


# The description of wrong labels


RIGHT = [3, 0, 2, 2, 1, 0, 3, 3, 1, 2]


def said(
    labels: Iterable[int], known: HashRange, names: Sequence[str] = (), copied: bool = True
) -> str:
    task = Task("light", "Natural", 4, ranks={"train": known})
    keys = names or [f"{i:06d}.jpg" for i in range(len(RIGHT))]
    rows = [FolderImage(n, "", key, "", "") for n, key in zip(labels, keys, strict=True)]
    return "".join(sampling.label_sequence_problems(task, {"train": rows}, copied))


def known(labels: Sequence[int] = RIGHT, in_order: bool = True, **more: bool) -> HashRange:
    order = digest_of_labels(labels) if in_order else ""
    return HashRange(
        "train", 0, 10, labels=order, histogram=digest_of_labels(sorted(labels)), **more
    )


def test_the_right_labels_are_sound() -> None:
    assert said(RIGHT, known()) == ""
    assert said(RIGHT, HashRange("train", 0, 10)) == ""


def test_shuffled_labels_are_said_to_be_not_those_of_their_images() -> None:
    wrong = said(sorted(RIGHT), known())
    assert wrong.startswith(
        "E-LABEL light/train: the labels are not those of their images: as many"
    )


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("around", [True, False])
def test_shifted_labels_are_said_to_be_off_by_so_many(
    step: int, in_order: bool, around: bool
) -> None:
    moved = [(n + step) % 4 if around else n + step for n in RIGHT]
    assert said(moved, known(in_order=in_order)).endswith(f": all labels are off by {step}")


def test_other_labels_are_given_by_their_digest() -> None:
    assert "other labels than were published: of the sorted" in said([0] * 10, known())


def test_a_list_in_another_order_is_sound_where_the_names_have_the_right_one() -> None:
    names = [f"{i:06d}.jpg" for i in range(10)][::-1]
    assert said(RIGHT[::-1], known(), names) == ""
    assert said(RIGHT[::-1], known(), names, copied=False)


def test_of_copies_that_readers_interleave_the_counts_alone_are_held() -> None:
    assert said(sorted(RIGHT), known(interleaved=True)) == ""
    assert said([0] * 10, known(interleaved=True))


# Imported copies


def suite_that_knows(folder: Path, **labels: Sequence[int]) -> None:
    """Write the suite of `suite_copies`, with digests of labels for its task `light`."""
    path = suite_copies.suite(folder)
    ranks = {split: known_ranks(found) for split, found in labels.items()}
    light, dark = path.read_text(encoding="utf-8").split('[[task]]\nname = "dark"')
    plain = tiny.toml({"ranks": suite_copies.RANKS})
    assert plain in light
    light = light.replace(plain, tiny.toml({"ranks": suite_copies.RANKS | ranks}))
    path.write_text(f'{light}[[task]]\nname = "dark"{dark}', encoding="utf-8")


def known_ranks(labels: Sequence[int]) -> dict[str, object]:
    place = {"source": "train", "first": 0, "last": len(labels)}
    return place | {
        "labels": digest_of_labels(labels),
        "histogram": digest_of_labels(sorted(labels)),
    }


ALTERNATING = [0, 1] * 4
FAULTS: dict[str, tuple[Sequence[int], str]] = {
    "shuffled": ([0, 0, 1, 1] * 2, "the labels are not those of their images"),
    "shifted": (ALTERNATING[::-1], "all labels are off by 1"),
}


def relist(copy: Path, name: str, labels: Sequence[int]) -> None:
    path = copy / "cifar" / name
    lines = [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text(
        "".join(f"{p} {n}\n" for p, n in zip(lines, labels, strict=True)), encoding="utf-8"
    )


@pytest.mark.parametrize("fault", FAULTS)
def test_a_copy_with_other_labels_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    labels, says = FAULTS[fault]
    suite_that_knows(tmp_path, train=ALTERNATING)
    copy = suite_copies.write_noah(tmp_path / "vtab-1k")
    assert suite_copies.bring(tmp_path, copy) == 0
    relist(copy, "train800.txt", labels)
    (copy / "cifar" / "train800val200.txt").unlink()
    assert suite_copies.bring(tmp_path, copy, root="again") == 1
    assert f"E-LABEL light/train: {says}" in capsys.readouterr().err
    assert not list((tmp_path / "again").rglob("cifar.*.tsv"))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_copy_is_held_to_the_labels_of_what_was_made_from_the_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    labels, says = FAULTS[fault]
    suite_copies.suite(tmp_path)
    copy = suite_copies.write_noah(tmp_path / "vtab-1k", ["light"], format="PNG")
    assert suite_copies.bring(tmp_path, copy) == 0
    folder = tmp_path / "data" / "prepared" / "copied" / "light" / "lossless"
    card = json.loads((folder / prepared.CARD_FILE).read_text(encoding="utf-8"))
    (folder / prepared.MANIFEST_FILE).unlink()
    writer.write_card(folder, {name: of for name, of in card.items() if name != "imported"})
    lossy = suite_copies.write_noah(tmp_path / "lossy", ["light"])
    assert suite_copies.bring(tmp_path, lossy) == 0
    relist(lossy, "train800.txt", labels)
    (lossy / "cifar" / "train800val200.txt").unlink()
    assert suite_copies.bring(tmp_path, lossy) == 1
    assert f"E-LABEL light/train: {says}" in capsys.readouterr().err
