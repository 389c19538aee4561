"""Which images a run shows to its model, through which view, in which mode and which order."""

from itertools import pairwise

import pytest
import tiny
import torch
from noting import Notes, Noting, as_listed, places

from bench import cli
from methods import registry

pytestmark = pytest.mark.usefixtures("no_picture")

RANDOM = "random_resized_crop_flip"


@pytest.fixture
def noted(cards, tmp_path, monkeypatch):
    """Run a linear probe on the task `light` and give what it was shown."""
    monkeypatch.setitem(registry._methods, "noting", Noting())

    def act(*more: str) -> Notes:
        monkeypatch.setattr(Noting, "notes", Notes())
        words = tiny.command("run", cards, tmp_path / "results", "noting", "--force", *more)
        assert cli.main([*words, "--set", "batch=16"]) == 0
        return Noting.notes

    return act


@pytest.fixture
def learnt(cards):
    """The images that are learnt, and their labels: train, then val."""
    return as_listed(cards / "data" / "light", "train.txt", "val.txt")


@pytest.fixture
def scored(cards):
    """Those of test."""
    return as_listed(cards / "data" / "light", "test.txt")


def test_a_model_learns_in_training_mode_and_is_scored_in_evaluation_mode(noted):
    found = noted("--set", "epochs=2", "--set", "test_evaluations=2")
    modes = [(one.training, one.gradients) for one in found.passes]
    assert modes == 2 * [*[(True, True)] * 3, (False, False)]  # 40 images, then 16 of test


def views(train: str, test: str) -> tuple[str, ...]:
    return "--set", f"views.default.train={train}", "--set", f"views.default.test={test}"


def test_what_is_learnt_is_seen_through_the_view_of_training_alone(noted, learnt, scored):
    found = noted(*views(RANDOM, "squash"))
    assert set(places(found.images(training=True), learnt[0])) == {-1}
    assert places(found.images(training=False), scored[0]) == list(range(16))
    shown = torch.cat([images for images, _ in found.prepared])
    assert sorted(places(shown, learnt[0])) == list(range(40))


def test_prepare_and_test_see_the_view_of_test(noted, learnt, scored):
    found = noted(*views("squash", "squash256_crop"))
    assert sorted(places(found.images(training=True), learnt[0])) == list(range(40))
    assert set(places(found.images(training=False), scored[0])) == {-1}
    shown = torch.cat([images for images, _ in found.prepared])
    assert set(places(shown, learnt[0])) == {-1}


def test_images_come_with_their_own_labels(noted, learnt):
    for images, labels in noted().prepared:
        assert labels.tolist() == learnt[1][places(images, learnt[0])].tolist()


def test_each_epoch_shows_every_image_once_in_an_order_of_its_own(noted, learnt):
    order = places(noted("--set", "epochs=3").images(training=True), learnt[0])
    epochs = [order[start : start + 40] for start in (0, 40, 80)]
    assert [sorted(epoch) for epoch in epochs] == 3 * [list(range(40))]
    assert len({tuple(epoch) for epoch in [*epochs, list(range(40))]}) == 4


def orders(found: Notes, learnt) -> tuple[list[int], list[int]]:
    """In which order the images were learnt, and shown before."""
    shown = torch.cat([images for images, _ in found.prepared])
    return places(found.images(training=True), learnt[0]), places(shown, learnt[0])


def test_another_seed_has_another_head_and_other_orders(noted, learnt):
    first, second = noted("--seeds", "0"), noted("--seeds", "1")
    assert not torch.equal(first.heads[0], second.heads[0])
    for one, other in zip(orders(first, learnt), orders(second, learnt), strict=True):
        assert one != other


def test_a_seed_fixes_the_head_and_both_orders(noted, learnt):
    torch.manual_seed(1)
    first = noted("--seeds", "3")
    torch.manual_seed(2)
    second = noted("--seeds", "3")
    assert torch.equal(first.heads[0], second.heads[0])
    assert orders(first, learnt) == orders(second, learnt)


def test_the_order_of_learning_is_not_that_of_prepare(noted, learnt):
    learning, preparing = orders(noted(), learnt)
    assert learning != preparing


def test_a_share_of_the_training_images_is_drawn_by_the_seed_class_by_class(noted, learnt):
    found = []
    for seed in ("0", "1"):
        notes = noted("--seeds", seed, "--set", "train_share=0.5")
        found.append(set(places(notes.images(training=True), learnt[0])))
        assert sorted(learnt[1][list(found[-1])].tolist()) == [0] * 10 + [1] * 10
    assert found[0] != found[1]


def test_the_suites_own_views_are_taken_before_the_default_ones(noted, scored):
    own = f'views={{ tiny = {{ train = "squash", test = "squash256_crop", {BICUBIC} }}, '
    both = own + f'default = {{ train = "squash", test = "squash", {BICUBIC} }} }}'
    found = noted("--set", both)
    assert set(places(found.images(training=False), scored[0])) == {-1}


BICUBIC = 'interpolation = "bicubic"'


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_are_resized_as_the_recipe_s_interpolation_says(noted, split):
    geometry = views("squash256_random_crop_flip", "squash256_crop")
    found = [
        noted(*geometry, "--set", f"views.default.interpolation={how}").images(split == "train")
        for how in ("bicubic", "bilinear", "tf1_bilinear")
    ]
    for one, other in pairwise(found):
        assert (one - other).abs().mean() > 0.01


def test_a_card_s_own_mean_deviation_and_size_are_what_the_model_sees(noted, tmp_path, learnt):
    mean, std = [0.1, 0.2, 0.3], [0.4, 0.5, 0.8]
    card = tiny.backbone_card(tmp_path / "own.toml", mean=mean, std=std)
    wide = {**tiny.ARCHITECTURE, "img_size": 64}
    large = tiny.backbone_card(tmp_path / "large.toml", input_size=64, architecture=wide)
    found = noted("--backbones", str(card)).images(training=True)
    by_hand = (learnt[0] * 0.5 + 0.5 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(
        3, 1, 1
    )
    assert sorted(places(found, by_hand)) == list(range(40))
    torch.testing.assert_close(found, by_hand[places(found, by_hand)])
    assert noted("--backbones", str(large)).images(training=True).shape[1:] == (3, 64, 64)
