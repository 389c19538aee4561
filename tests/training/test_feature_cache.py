"""Cached features: where a model is split, when nothing is cached, and that no number changes."""

import copy
from dataclasses import dataclass, replace

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

import methods
from bench.config.recipe import load_recipe
from bench.data.loader import BatchLoader
from bench.data.splits import Examples
from bench.data.transforms import Transform
from bench.models import frozen_trunk, small_models
from bench.training import trainer
from bench.training.feature_cache import LOGIT_TOLERANCE, FeatureCache
from methods.linear import Linear
from methods.shared import memory
from support.variants import one_of_each_kind

CPU = torch.device("cpu")
RECIPE = replace(load_recipe("quick"), epochs=3, warmup_epochs=0, batch=4)
SPLITS = {
    "linear": "head",
    "mlp3": "head_drop",
    "mp": "norm",  # its moments read the patch tokens behind the last block
    "partial1": "blocks.2",
    "vpt_shallow_frozen": "head",
    "vpt_deep_frozen": "head",
    "spt_deep_kmeans_frozen": "head",
}
WHOLE = (
    "full",
    "bias",
    "lora",
    "ssf",
    "vpt_deep",
    "vqt",
    "sidetune",
    "e2vpt",
    "mp_plus",
    "peft_ln",
)


def adapted(name: str, pooling: str = "token", **fields: object):
    return small_models.prepare_copy(
        methods.create(name, **fields), small_models.small_backbone(pooling)
    )


def shown(
    order: int | None = None, view: str = "squash", kind: type[BatchLoader] = BatchLoader
) -> BatchLoader:
    """Ten images in three batches, the last of them smaller."""
    pixels = torch.randint(
        256, (10, 3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    examples = Examples(torch.arange(10) % small_models.CLASSES, pixels)
    generator = None if order is None else torch.Generator().manual_seed(order)
    half = (0.5,) * 3
    return kind(examples, Transform(view, "bicubic"), 64, 4, half, half, CPU, generator)


def kept(model, batches: BatchLoader | None = None, passes: int = 3, precision: str = "fp32"):
    """Features that have been asked for once."""
    found = FeatureCache(batches or shown(), precision, passes)
    found.forward_fn(model)
    return found


@pytest.mark.parametrize("pooling", ["token", "avg"])
@pytest.mark.parametrize(("name", "first"), SPLITS.items())
def test_a_model_is_split_at_the_first_step_that_learns(name, first, pooling):
    assert frozen_trunk.split_at_first_trainable(adapted(name, pooling)).rest[0].name == first


@pytest.mark.parametrize("name", WHOLE)
def test_what_learns_from_the_first_block_on_or_sees_the_images_is_not_split(name):
    assert frozen_trunk.split_at_first_trainable(adapted(name)) is None
    assert kept(adapted(name)).note == "images: no block is fixed"


@pytest.mark.parametrize(
    "lively",
    [nn.Dropout(0.1), nn.BatchNorm1d(64), timm.layers.DropPath(0.1)],
    ids=["dropout", "batch norm", "drop path"],
)
def test_the_split_lies_below_what_training_mode_changes(lively):
    model = adapted("linear")
    model.blocks[1].ls1 = lively
    assert frozen_trunk.split_at_first_trainable(model).rest[0].name == "blocks.1"
    model.blocks[1].ls1 = nn.Dropout(0.0)
    assert frozen_trunk.split_at_first_trainable(model).rest[0].name == "head"


def test_a_model_whose_forward_pass_is_its_own_is_not_split():
    model = adapted("linear")
    model.forward_head = lambda x: x
    hooked, more = adapted("linear"), adapted("linear")
    hooked.register_forward_hook(lambda *_: None)
    more.extra = nn.Linear(2, 2)
    assert [frozen_trunk.split_at_first_trainable(m) for m in (model, hooked, more)] == [
        None,
        None,
        None,
    ]


class InDoubles(BatchLoader):
    """Batches in float64."""

    def _normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.double().sub_(self._mean).div_(self._std)


def compared(name: str, precision: str, kind: type[BatchLoader] = BatchLoader):
    """Scores and gradients of each batch, of features and of the whole model, in pairs."""
    model = small_models.small_backbone().to(torch.get_default_dtype())
    model = small_models.prepare_copy(methods.create(name), model).train()
    batches = shown(order=1, kind=kind)
    found = kept(model, batches, precision=precision)
    assert found.note.startswith("features")
    read, twin = found.forward_fn(model), copy.deepcopy(model)
    for (rows, labels), (images, _) in zip(found, shown(order=1, kind=kind), strict=True):
        got = []
        for one, reader, inputs in (
            (model, read, rows),
            (twin, frozen_trunk.forward_fn(twin), images),
        ):
            one.zero_grad()
            torch.manual_seed(3)  # of dropout
            with trainer.autocast(CPU, precision):
                scores = reader(inputs)
            F.cross_entropy(scores.to(torch.get_default_dtype()), labels).backward()
            got.append([scores, *(p.grad for p in one.parameters() if p.requires_grad)])
        yield from zip(*got, strict=True)


@pytest.mark.parametrize("name", SPLITS)
def test_scores_and_gradients_are_those_of_the_whole_model(name, double_precision):
    """In float64: in float32 mlp3's norms over a few images enlarge rounding, which hangs on the
    processor's kernels and on the number of threads.
    """
    for ours, whole in compared(name, "fp32", InDoubles):
        torch.testing.assert_close(ours, whole, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in SPLITS if name != "mlp3"])
def test_scores_and_gradients_are_those_of_the_whole_model_in_bf16(name):
    """A last digit of float32 that differs may round to the next number of bf16, 2**-8 away."""
    for ours, whole in compared(name, "bf16"):
        room = LOGIT_TOLERANCE["bf16"] * whole.abs().max().item()
        torch.testing.assert_close(ours, whole, rtol=0, atol=room)


def fitted_in_doubles(name: str, passes: int):
    """The method's losses in so many passes over the images, and the classes it then predicts."""
    batches = shown(order=1, kind=InDoubles)
    method, model = methods.create(name), small_models.small_backbone().double()
    model = small_models.prepare_copy(method, model)
    torch.manual_seed(5)
    found = FeatureCache(batches, "fp32", passes)
    losses = trainer.fit(model, method, found, RECIPE, 1e-3, "fp32", lambda *_: None)
    return losses, trainer.evaluate(model, shown(kind=InDoubles), "fp32").classes


@pytest.mark.parametrize("name", one_of_each_kind(methods.names()))
def test_every_method_trains_alike_on_features_and_on_images(name, double_precision):
    """In float64: an image in a batch of another size is multiplied by another kernel, which rounds
    in another order, and mlp3's batch norm over the two images of the last batch enlarges that in
    float32 to 2e-5 of the loss on some processors.
    The loss is float32, of scores that agree to 1e-12: one step of its last bit is 1.2e-7 of it.
    """
    losses, answers = fitted_in_doubles(name, passes=1)
    random = torch.get_rng_state()
    found, again = fitted_in_doubles(name, passes=RECIPE.epochs)
    assert found == pytest.approx(losses, rel=1e-6)
    assert torch.equal(answers, again)
    assert torch.equal(torch.get_rng_state(), random)


@dataclass(frozen=True)
class LooksTwice(Linear):
    """Trains on two passes over what it is given, images or features of them."""

    def loss(self, model, forward, inputs, labels, reduction="mean"):
        once, again = forward(torch.cat([inputs, inputs])).chunk(2)
        assert torch.equal(once, again)
        return F.cross_entropy(once + again, labels, reduction=reduction)


def test_a_loss_of_two_passes_is_the_same_on_features_and_on_images(double_precision):
    found = []
    for passes in (1, RECIPE.epochs):
        model = small_models.prepare_copy(LooksTwice(), small_models.small_backbone().double())
        batches = FeatureCache(shown(order=1, kind=InDoubles), "fp32", passes)
        found.append(
            trainer.fit(model, LooksTwice(), batches, RECIPE, 1e-3, "fp32", lambda *_: None)
        )
    assert batches.note.startswith("features")
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_orders_are_drawn_as_without_features():
    model, batches, plain = adapted("linear"), shown(order=1), shown(order=1)
    found = kept(model, batches)
    for _ in range(2):
        labels = torch.cat([labels for _, labels in found])
        assert torch.equal(labels, torch.cat([labels for _, labels in plain]))
    assert torch.equal(batches.shuffle_generator.get_state(), plain.shuffle_generator.get_state())


def counted(model) -> list[int]:
    """A list that grows by each batch of images that enters the model."""
    batches, project = [], model.patch_embed.proj

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.proj = project

        def forward(self, images):
            batches.append(len(images))
            return self.proj(images)

    model.patch_embed.proj = Counting()
    return batches


def test_a_split_that_is_scored_often_enters_the_model_once_and_a_first_batch_again():
    model = adapted("linear")
    entered, found = counted(model), FeatureCache(shown(), "fp32", 5)
    answers = [trainer.evaluate(model, found, "fp32").classes for _ in range(5)]
    assert entered == [4, 4, 2, 4]
    assert all(torch.equal(one, answers[0]) for one in answers)


@pytest.mark.parametrize("training", [True, False])
def test_computing_them_leaves_the_mode_as_it_was(training):
    model = adapted("mlp3").train(training)
    before = copy.deepcopy(model.state_dict())
    kept(model)
    assert {m.training for m in model.modules()} == {training}
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


def given(found: FeatureCache) -> list[tuple[int, ...]]:
    return [tuple(inputs.shape) for inputs, _ in found]


IMAGES = [(4, 3, 64, 64), (4, 3, 64, 64), (2, 3, 64, 64)]


def test_images_that_change_from_pass_to_pass_are_read_as_images():
    found = kept(adapted("linear"), shown(order=0, view="random_crop_flip"))
    assert found.note == "images: views vary"
    assert given(found) == IMAGES


def test_what_is_read_once_is_read_as_images():
    found = kept(adapted("linear"), passes=1)
    assert found.note == "images: read once"
    assert given(found) == IMAGES


def test_features_that_do_not_fit_are_not_kept_and_the_note_says_so(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda _: 3 * 2**19)
    model = adapted("partial1")  # 10 images of 65 tokens of 64 channels are 0.16 MiB
    assert kept(model).note == "features: computed once, below blocks.2"
    monkeypatch.setattr(memory, "free_memory", lambda _: 3 * 2**16)
    found = kept(model)
    assert found.note == "images: features of 0.16 MiB, room for 0.06"
    assert given(found) == IMAGES


def scores(model, found: FeatureCache) -> torch.Tensor:
    reader = found.forward_fn(model)
    with torch.no_grad():
        return torch.cat([reader(inputs) for inputs, _ in found])


@torch.no_grad()
def written_to(model):
    model.blocks[0].mlp.fc1.weight.mul_(2)


def replaced(model):
    model.blocks[0].mlp = copy.deepcopy(model.blocks[1].mlp)


def put_in(model):
    model.pos_embed.data = -model.pos_embed.data


def unfrozen(model):
    model.blocks[1].requires_grad_(True)


@pytest.mark.parametrize("change", [written_to, replaced, put_in, unfrozen])
def test_a_change_of_what_is_fixed_makes_them_computed_again(change):
    model = adapted("linear")
    found = kept(model)
    change(model)
    plain = torch.cat([model(images) for images, _ in shown()])
    torch.testing.assert_close(scores(model, found), plain, rtol=0, atol=1e-5)


def test_a_new_head_reads_the_same_features():
    model = adapted("linear")
    entered, found = counted(model), kept(model)
    before = len(entered)
    model.head = nn.Linear(64, small_models.CLASSES)
    found.forward_fn(model)
    assert len(entered) == before
    plain = torch.cat([model(images) for images, _ in shown()])
    torch.testing.assert_close(scores(model, found), plain, rtol=0, atol=1e-5)


class Drawing(nn.Module):
    """Draws where no one would look for it."""

    def forward(self, x):
        return F.dropout(x, 0.1, self.training)


class Telling(nn.Module):
    """Tells `heard` what it saw, by a way of its own."""

    def __init__(self, heard: dict):
        super().__init__()
        self.heard = heard

    def forward(self, x):
        self.heard["x"] = x[:, 1]
        return x


class Hearing(nn.Module):
    """Learns, and adds what it heard."""

    def __init__(self, heard: dict):
        super().__init__()
        self.heard, self.scale = heard, nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x + self.scale * self.heard["x"]


def test_a_fixed_part_that_draws_is_not_trusted():
    model = adapted("linear")
    model.blocks[0].ls1 = Drawing()
    before = torch.get_rng_state()
    assert kept(model).note == "images: features alone give other scores"
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("count", [4, 10])
def test_a_fixed_part_that_tells_the_rest_more_than_its_features_is_not_trusted(count):
    model, heard = adapted("linear"), {}
    model.norm_pre, model.head_drop = Telling(heard), Hearing(heard)
    batches = shown()
    batches.examples = replace(batches.examples, labels=batches.examples.labels[:count])
    assert kept(model, batches).note == "images: features alone give other scores"


def packed(run, x: torch.Tensor) -> list[tuple[int, ...]]:
    """The shapes of what autograd keeps for the way back."""
    shapes = []

    def keep(tensor):
        shapes.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run(x)
    return shapes


@pytest.mark.sample(16)
@pytest.mark.parametrize("name", methods.names())
def test_nothing_below_the_first_that_learns_keeps_activations(name):
    model = adapted(name).train()
    x = next(iter(shown()))[0]
    for step in frozen_trunk.forward_steps(model):
        if any(tensor.requires_grad for tensor in step.tensors()):
            break
        assert packed(step.run, x) == [], step.name
        x = step.run(x)


def test_a_linear_probe_keeps_only_what_its_head_reads():
    model = adapted("linear").train()
    images = next(iter(shown()))[0]
    assert (4, 64) in packed(model, images)
    assert all(len(shape) <= 2 for shape in packed(model, images))


DISTRUST = "images: features alone give other scores"


class DrawingUnused(nn.Module):
    """Draws a number in training and makes nothing of it: whatever draws next draws another."""

    def forward(self, x):
        if self.training:
            torch.rand(())
        return x


class Counting(nn.Module):
    """Counts in training, and gives what it got."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.count += 1
        return x


@pytest.mark.parametrize("lively", [DrawingUnused(), Counting()], ids=["draws", "changes"])
def test_what_acts_in_training_is_not_trusted_though_the_scores_are_the_same(lively):
    model = adapted("linear")
    model.blocks[0].ls1 = lively
    assert kept(model).note == DISTRUST


@pytest.mark.parametrize(
    ("norm", "fixed"),
    [
        (nn.BatchNorm1d(64).requires_grad_(False), True),
        (nn.BatchNorm1d(64, affine=False), False),
        (nn.BatchNorm1d(64, track_running_stats=False).requires_grad_(False), False),
    ],
)
def test_a_batch_norm_is_fixed_where_it_keeps_its_statistics(norm, fixed):
    model = adapted("linear")
    model.blocks[1].ls1 = norm
    first = frozen_trunk.split_at_first_trainable(model).rest[0].name
    assert first == ("head" if fixed else "blocks.1")


class Fading(nn.Module):
    """Gives a hundredth less in training."""

    def forward(self, x):
        return 0.99 * x if self.training else x


def test_what_gives_a_little_less_in_training_is_not_trusted():
    model = adapted("linear")
    model.blocks[0].ls1 = Fading()
    model.blocks[1].ls1 = Fading()
    assert kept(model).note == DISTRUST
