"""`--data-root synthetic`: images of any suite, drawn at its true counts and sizes."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from bench.config.loading import SUITES_DIR, card_names
from bench.config.suite import Suite, Task, load_suite
from bench.data import locations, shifts, splits, synthetic
from bench.data.splits import Examples
from bench.records.schema import SYNTHETIC
from bench.utils.errors import UserError

ROOT = Path(SYNTHETIC)
VTAB_TEST = {  # Table S1 of the SPT paper; Caltech101 as in VTAB's own code
    "caltech101": 6084, "cifar": 10_000, "dtd": 1880, "oxford_flowers102": 6149,
    "oxford_iiit_pet": 3669, "svhn": 26_032, "sun397": 21_750, "patch_camelyon": 32_768,
    "eurosat": 5400, "resisc45": 6300, "diabetic_retinopathy": 42_670, "clevr_count": 15_000,
    "clevr_dist": 15_000, "dmlab": 22_735, "kitti": 711, "dsprites_loc": 73_728,
    "dsprites_ori": 73_728, "smallnorb_azi": 12_150, "smallnorb_ele": 12_150,
}  # fmt: skip
SUITES = [name for name in card_names(SUITES_DIR) if not load_suite(name).task[0].embedded]


def load(suite: Suite, task: Task, split) -> Examples:
    return splits.load_split(suite, task, split, ROOT)


@pytest.mark.parametrize("name", SUITES)
def test_every_task_of_every_suite_of_image_files_can_be_drawn(name: str) -> None:
    suite = load_suite(name)
    for task in suite.prepared_tasks():
        assert synthetic.problem(task) == "", task.name
        assert locations.find(suite, task, ROOT).variant == SYNTHETIC
        assert synthetic.count_images(task, "test") in task.counts["test"]


def test_vtab1k_has_its_true_counts() -> None:
    suite = load_suite("vtab1k")
    found = {task.name: synthetic.count_images(task, "test") for task in suite.task}
    assert found == VTAB_TEST
    kitti = suite.find("kitti")
    sizes = [len(load(suite, kitti, split)) for split in ("train", "val", "trainval", "test")]
    assert sizes == [800, 200, 1000, 711]


@pytest.mark.parametrize(
    ("suite", "task", "count"),
    [
        ("fewshot", "food101_4shot_1", 404),
        ("imagenet1k", "imagenet1k_1", 12_812),
        ("fgvc", "cub", 5994),
    ],
)
def test_shots_and_shares_are_counted_as_the_card_says(suite: str, task: str, count: int) -> None:
    card = load_suite(suite)
    assert len(load(card, card.find(task), "trainval")) == count


def test_labels_are_in_balance_and_of_every_class() -> None:
    suite = load_suite("vtab1k")
    for name in ("svhn", "kitti", "dtd"):
        task = suite.find(name)
        for split in ("train", "test"):
            counts = Counter(load(suite, task, split).labels.tolist())
            assert sorted(counts) == list(range(task.classes))
            assert max(counts.values()) - min(counts.values()) <= 1


def test_images_have_the_size_of_the_card() -> None:
    suite = load_suite("vtab1k")
    for task in suite.task:
        examples = load(suite, task, "val")
        image = splits.decode(examples, 0)
        assert (image.dtype, list(image.shape)) == (torch.uint8, [3, *task.pixels])


def test_no_image_is_drawn_twice_and_each_is_the_same_in_any_order() -> None:
    suite = load_suite("vtab1k")
    task = suite.find("svhn")
    train, test = load(suite, task, "trainval"), load(suite, task, "test")
    some = [*range(0, 1000, 10)]
    drawn = [splits.decode(one, i).numpy().tobytes() for one in (train, test) for i in some]
    assert len(set(drawn)) == len(drawn)
    again = splits.subset(test, torch.tensor(some[::-1]))
    assert [splits.decode(again, i).numpy().tobytes() for i in range(len(some))] == drawn[:99:-1]


def test_what_is_drawn_changes_with_the_number_of_the_drawing_alone() -> None:
    """After an intended change of the pixels, raise `synthetic.DRAWING`."""
    suite = load_suite("vtab1k")
    examples = load(suite, suite.find("svhn"), "val")
    pixels = b"".join(splits.decode(examples, i).numpy().tobytes() for i in range(20))
    found = synthetic.DRAWING, hashlib.sha256(pixels).hexdigest()[:16], splits.fingerprint(examples)
    assert found == (1, "b8c2cfdb74217697", "e3c289d005fd3b1c")


def test_another_size_count_or_number_of_classes_has_another_digest() -> None:
    suite = load_suite("vtab1k")
    plain = suite.find("kitti")
    changed = [
        {"pixels": [100, 100]},
        {"counts": {**plain.counts, "test": [700]}},
        {"classes": 5},
        {"name": "other"},
    ]
    made = [plain, *(Task(**{**vars(plain), **one}) for one in changed)]
    digests = {splits.fingerprint(load(suite, task, "test")) for task in made}
    assert len(digests) == len(made)


@pytest.mark.long
def test_a_linear_probe_on_pixels_is_far_above_chance() -> None:
    suite = load_suite("vtab1k")
    for name in ("svhn", "kitti"):
        task = suite.find(name)
        train, labels = _pixels(load(suite, task, "trainval"))
        test, truth = _pixels(load(suite, task, "test"), 600)
        targets = np.eye(task.classes)[labels]
        gram = train.T @ train + 30 * np.eye(train.shape[1])
        weights = np.linalg.solve(gram, train.T @ targets)
        accuracy = ((test @ weights).argmax(1) == truth).mean()
        assert accuracy > 2 / task.classes, name


def _pixels(examples: Examples, most: int = 10_000) -> tuple[np.ndarray, np.ndarray]:
    """Images of 8 x 8 pixels around 0, (B, 192), and their labels, (B,)."""
    count = min(most, len(examples))
    drawn = [splits.decode(examples, i)[None].float() for i in range(count)]
    small = [interpolate(one, (8, 8), mode="area").flatten() / 255 - 0.5 for one in drawn]
    return torch.stack(small).double().numpy(), examples.labels[:count].numpy()


def test_a_further_test_set_has_labels_of_its_mask_alone() -> None:
    suite = load_suite("imagenet_shift")
    task = suite.task[0]
    for shift in suite.shifts_of(task):
        found = shifts.load_shift(suite, task, shift, ROOT)
        known = shift.classes or range(task.classes)
        assert len(found) in shift.counts
        assert set(found.labels.tolist()) == set(known)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"pixels": []}, "the card of kitti does not say the pixels of an image"),
        ({"counts": {}}, "the card of kitti does not say how many test images there are"),
    ],
)
def test_a_card_that_says_too_little_is_a_sentence(changed: dict, said: str) -> None:
    suite = load_suite("vtab1k")
    task = Task(**{**vars(suite.find("kitti")), **changed})
    with pytest.raises(UserError, match=said):
        load(suite, task, "test")


def test_pixels_are_a_height_and_a_width() -> None:
    plain = vars(load_suite("vtab1k").find("kitti"))
    for sides in ([32], [32, 32, 3], [0, 32], ["32", "a"]):
        with pytest.raises(ValueError, match="pixels"):
            Task(**{**plain, "pixels": sides})


def test_there_is_no_variant_of_what_is_drawn() -> None:
    suite = load_suite("vtab1k")
    with pytest.raises(UserError, match="images of --data-root synthetic have no variant jpeg75"):
        splits.load_split(suite, suite.find("kitti"), "test", ROOT, "jpeg75")


def test_a_folder_of_that_name_is_named_by_its_full_path(tmp_path: Path) -> None:
    assert synthetic.is_synthetic(ROOT)
    assert locations.absolute_root(ROOT) == ROOT
    assert not synthetic.is_synthetic(tmp_path / SYNTHETIC)
    assert locations.absolute_root(Path("data")) == Path("data").absolute()
