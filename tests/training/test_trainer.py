"""The training loop: schedule and groups; a whole run against a plain loop written out here."""

import json
from dataclasses import dataclass, replace
from math import cos, pi

import pytest
import timm
import torch
import torch.nn.functional as F

import methods
from bench.cli import main
from bench.config import backbone
from bench.config.recipe import load_recipe
from bench.data.loader import BatchLoader
from bench.data.splits import Examples
from bench.data.transforms import Transform
from bench.models import backbones
from bench.records.predictions import read_predictions
from bench.training import trainer
from bench.training.runner import SHUFFLE_SEED_OFFSET
from methods import Method, create
from support import tiny
from support.recording_probe import as_listed

RECIPE = replace(load_recipe("quick"), epochs=10, warmup_epochs=2, lr=0.1, min_lr=0.001, batch=8)
CPU = torch.device("cpu")


def network(method: str = "linear"):
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=2, **tiny.ARCHITECTURE)
    model.requires_grad_(False)
    model.get_classifier().requires_grad_(True)
    methods.create(method).attach(model)
    return model


def shown(count: int = 16, batch: int = 8) -> BatchLoader:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    examples = Examples(torch.arange(count) % 2, pixels)
    return BatchLoader(
        examples, Transform("squash", "bicubic"), 32, batch, (0.5,) * 3, (0.5,) * 3, CPU
    )


def fit(model, method: Method, recipe=RECIPE, lr=0.01, after_epoch=lambda *_: None):
    return trainer.fit(model, method, shown(), recipe, lr, "fp32", after_epoch)


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        (0, 1 / 10),  # 2 epochs of 5 steps rise
        (4, 5 / 10),
        (9, 1.0),
        (10, 1.0),  # the cosine's top
        (30, 0.01 + 0.99 / 2),  # half-way between 10 and 50
        (20, 0.01 + 0.99 * (1 + cos(pi / 4)) / 2),
        (50, 0.01),  # the floor: 0.001 of a peak of 0.1
    ],
)
def test_the_rate_rises_in_a_line_and_falls_as_a_cosine_to_the_floor(step, factor):
    assert trainer.lr_schedule(RECIPE, 0.1, steps=5)(step) == pytest.approx(factor)


def test_the_floor_is_a_rate_whatever_the_peak():
    for peak in (0.1, 0.004):
        assert peak * trainer.lr_schedule(RECIPE, peak, 5)(50) == pytest.approx(RECIPE.min_lr)


def test_a_peak_below_the_floor_stays():
    assert trainer.lr_schedule(RECIPE, 1e-4, 5)(50) == 1.0


def test_without_warm_up_the_first_step_is_at_the_peak():
    assert trainer.lr_schedule(replace(RECIPE, warmup_epochs=0), 0.1, 5)(0) == 1.0


def by_decay(found):
    return {group["weight_decay"]: group["params"] for group in found}


def test_matrices_decay_vectors_do_not_and_the_head_has_its_own_decay():
    model = network("full")
    recipe = replace(RECIPE, weight_decay=0.3, head_weight_decay=0.7)
    groups = by_decay(trainer.param_groups(model, methods.create("full"), recipe, 0.1))
    assert set(groups) == {0.0, 0.3, 0.7}
    assert [p is model.head.weight for p in groups[0.7]] == [True]
    assert all(p.ndim > 1 for p in groups[0.3])
    assert {id(p) for p in groups[0.0]} == {id(p) for p in model.parameters() if p.ndim == 1}
    assert sum(map(len, groups.values())) == len(list(model.parameters()))


def test_what_is_frozen_is_in_no_group():
    model = network("linear")
    found = trainer.param_groups(model, methods.create("linear"), RECIPE, 0.1)
    assert {id(p) for g in found for p in g["params"]} == {id(p) for p in model.head.parameters()}


@dataclass(frozen=True)
class Own(Method):
    """The head's bias at a tenth of the rate, with a decay of its own."""

    def attach(self, model):
        """Nothing to add."""

    def param_groups(self, model):
        return [{"params": [model.head.bias], "lr": 0.1, "weight_decay": 0.5}]


def test_a_methods_own_groups_have_their_own_factor_and_decay():
    model = network()
    found = trainer.param_groups(model, Own(), RECIPE, 0.2)
    assert [(g["lr"], g["weight_decay"]) for g in found] == [
        (0.2, RECIPE.head_weight_decay),
        (pytest.approx(0.02), 0.5),
    ]
    assert found[0]["params"] == [model.head.weight]
    assert found[1]["params"] == [model.head.bias]


@pytest.mark.parametrize("training", [True, False])
def test_predicting_leaves_the_mode_and_the_weights_as_they_were(training):
    model = network().train(training)
    before = {n: v.clone() for n, v in model.state_dict().items()}
    trainer.evaluate(model, shown(), "fp32")
    assert model.training == training
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


def test_accuracy_is_the_share_of_right_answers_in_percent():
    model = network()
    torch.nn.init.zeros_(model.head.weight)
    model.head.bias.data = torch.tensor([1.0, 0.0])  # always class 0: right for half
    found = trainer.evaluate(model, shown(count=15), "fp32")
    assert found.accuracy == pytest.approx(100 * 8 / 15)
    assert found.classes.tolist() == [0] * 15


class Peak(torch.optim.SGD):
    """SGD that remembers the rate it was made with."""

    def __init__(self, groups):
        super().__init__(groups, momentum=0.9)
        Peak.rate = groups[0]["lr"]


@pytest.mark.parametrize(("per_batch", "peak"), [(0, 0.01), (4, 0.02), (256, 0.01 * 8 / 256)])
def test_the_rate_is_scaled_by_the_batch_where_the_recipe_says_for_which(
    monkeypatch, per_batch, peak
):
    monkeypatch.setitem(trainer.OPTIMISERS, "sgd", Peak)
    recipe = replace(RECIPE, optimiser="sgd", lr_per_batch=per_batch, epochs=1, warmup_epochs=0)
    fit(network(), methods.create("linear"), recipe)
    assert Peak.rate == pytest.approx(peak)


def test_each_epoch_is_reported_with_its_mean_loss_and_training_lowers_it():
    told = []
    losses = fit(network(), methods.create("full"), lr=0.001, after_epoch=lambda *e: told.append(e))
    assert told == list(enumerate(losses, start=1))
    assert len(losses) == RECIPE.epochs
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_training_and_scoring_compute_in_the_precision_asked_for(precision):
    model, kinds = network(), []
    model.blocks[0].register_forward_hook(lambda module, given, x: kinds.append(x.dtype))
    model.blocks[0].attn.proj.register_forward_hook(lambda *given: kinds.append(given[-1].dtype))
    trainer.fit(model, methods.create("linear"), shown(), replace(RECIPE, epochs=3), 0.01,
                precision, lambda *_: None)  # fmt: skip
    trainer.evaluate(model, shown(), precision)
    inside = torch.bfloat16 if precision == "bf16" else torch.float32
    assert kinds == [inside, torch.float32] * 8  # six steps, and two batches that are scored
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_the_method_is_called_after_each_epoch():
    told = []

    class Told(type(methods.create("linear"))):
        def after_epoch(self, model, epoch):
            told.append(epoch)

    fit(network(), Told())
    assert told == list(range(1, RECIPE.epochs + 1))


class LooksTwice(type(methods.create("linear"))):
    """Trains on the mean of the losses of two forward passes."""

    def loss(self, model, forward, inputs, labels, reduction="mean"):
        once, again = (
            F.cross_entropy(forward(x), labels, reduction=reduction)
            for x in (inputs, inputs.flip(-1))
        )
        return (once + again) / 2


def test_a_method_s_own_loss_is_what_is_trained_and_reported():
    model, lr, recipe = network(), 0.01, replace(RECIPE, epochs=1, warmup_epochs=0)
    images, labels = next(iter(shown(8)))
    with torch.no_grad():
        model.train()
        expected = [F.cross_entropy(model(x), labels).item() for x in (images, images.flip(-1))]
    found = trainer.fit(model, LooksTwice(), shown(8), recipe, lr, "fp32", lambda *_: None)
    assert found == pytest.approx([sum(expected) / 2])


def test_a_default_loss_is_cross_entropy_bit_for_bit():
    model = network()
    images, labels = next(iter(shown()))
    loss = trainer.loss_fn(methods.create("linear"), model, model, "fp32")
    assert torch.equal(loss(images, labels), F.cross_entropy(model(images), labels))


def test_frozen_weights_stay_in_training():
    model = network("lora")
    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    fit(model, methods.create("lora"))
    assert all(torch.equal(p, frozen[n]) for n, p in model.named_parameters() if n in frozen)


def test_a_loss_that_is_no_number_ends_training_with_the_step():
    recipe = replace(RECIPE, warmup_epochs=0)
    with pytest.raises(trainer.Diverged, match=r"the loss was (nan|inf) at step 2$"):
        fit(network("full"), methods.create("full"), recipe, lr=1e30)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 1])
def test_scores_that_are_not_finite_are_no_prediction(score, place):
    """NaN is the largest to argmax, and -inf may leave another class: both would count as hits."""
    model = network()
    model.head.bias.data[place] = score
    with pytest.raises(trainer.Diverged, match=r"^16 of 16 images have scores that are not finite"):
        trainer.evaluate(model, shown(), "fp32")


def test_one_image_without_finite_scores_is_enough():
    model, batches = network(), shown()
    plain = model.forward

    def spoilt(images):
        scores = plain(images)
        return scores.index_fill(0, torch.tensor([3]), float("nan"))

    model.forward = spoilt
    with pytest.raises(trainer.Diverged, match=r"^2 of 16 images"):  # one in each batch of 8
        trainer.evaluate(model, batches, "fp32")


def test_a_step_counts_over_all_epochs():
    with pytest.raises(trainer.Diverged, match=r"the loss was inf at step 23$"):
        trainer.mean_loss(list(torch.tensor([1.0, 2.0, float("inf"), float("nan")])), before=20)


def test_the_step_of_a_loss_that_is_no_number_is_counted_from_the_first_epoch():
    model, steps = network("full"), []

    def breaks(module, given):
        steps.append(module.training)
        if len(steps) == 5:  # two batches an epoch: the first of the third
            with torch.no_grad():
                module.bias.fill_(float("nan"))

    model.head.register_forward_pre_hook(breaks)
    with pytest.raises(trainer.Diverged, match=r"the loss was nan at step 5$"):
        fit(model, methods.create("full"))


def test_what_a_method_does_between_epochs_is_done_to_all_processes():
    model, told = network(), []

    class Watched(type(shown().process_group)):
        def broadcast(self, tensors):
            told.append({id(tensor) for tensor in tensors})

    batches = shown()
    batches.process_group = Watched()
    trainer.fit(model, methods.create("linear"), batches, RECIPE, 0.01, "fp32", lambda *_: None)
    assert told == [{id(p) for p in model.head.parameters()}] * RECIPE.epochs


pytestmark = pytest.mark.usefixtures("no_figures")

EPOCHS, WARMUP, BATCH, SEED = 4, 1, 16, 2
RISE, STEPS = WARMUP * 3, EPOCHS * 3  # 40 images make 3 batches, the last of 8
RATE, FLOOR = 0.02, 0.001
OPTIMISERS = {
    "adamw": torch.optim.AdamW,
    "sgd": lambda groups: torch.optim.SGD(groups, momentum=0.9),
}


def rate(step: int, peak: float) -> float:
    """Up in a line over the first epoch, step by step, then down as a cosine."""
    if step < RISE:
        return peak * (step + 1) / RISE
    return FLOOR + (peak - FLOOR) * (1 + cos(pi * (step - RISE) / (STEPS - RISE))) / 2


def start(card, method: str):
    """The model as a run of this seed begins."""
    recipe = load_recipe("quick")
    torch.manual_seed(SEED)
    model = backbones.load(backbones.resolve(backbone.load_backbone(str(card))), 2, recipe)
    backbones.use_plain_attention(model)
    create(method).attach(model)
    return model


def parts(model, decay: float, of_head: float) -> list[dict]:
    """Matrices decay, those of the head by their own; vectors do not."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in model.parameters() if p.requires_grad and p.ndim == 1]
    body = [p for p in matrices if p is not model.head.weight]
    groups = [(body, decay), ([model.head.weight], of_head), (vectors, 0.0)]
    return [{"params": found, "weight_decay": share} for found, share in groups if found]


def by_hand(model, images, labels, optimiser, peak: float) -> list[float]:
    """The mean loss of each epoch."""
    order, step, losses = torch.Generator().manual_seed(SEED + SHUFFLE_SEED_OFFSET), 0, []
    for _ in range(EPOCHS):
        seen = torch.randperm(len(images), generator=order)
        torch.randint(2**62, (), generator=order)  # what a random view would draw from
        of_steps = []
        for rows in seen.split(BATCH):
            for group in optimiser.param_groups:
                group["lr"] = rate(step, peak)
            loss = F.cross_entropy(model.train()(images[rows]), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            of_steps.append(loss.item())
            step += 1
        losses.append(sum(of_steps) / len(of_steps))
    return losses


def says(**changes: object) -> list[str]:
    return [word for name, value in changes.items() for word in ("--set", f"{name}={value}")]


@pytest.mark.sample(4)
@pytest.mark.parametrize("per_batch", [0, 32])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("method", ["linear", "full"])
def test_a_run_is_the_plain_loop(cards, tmp_path, method, optimiser, per_batch):
    decays = {"weight_decay": 0.5, "head_weight_decay": 2.0}
    lr = RATE if optimiser == "sgd" else RATE / 4
    changes = {"epochs": EPOCHS, "warmup_epochs": WARMUP, "batch": BATCH, "lr": lr, **decays,
               "min_lr": FLOOR, "optimiser": optimiser, "lr_per_batch": per_batch}  # fmt: skip
    words = tiny.command("run", cards, tmp_path, method, "--seeds", str(SEED), *says(**changes))
    assert main.main(words) == 0
    [path] = (tmp_path / "records").rglob("*.json")
    record = json.loads(path.read_text(encoding="utf-8"))

    model = start(cards / "small.toml", method)
    images, labels = as_listed(cards / "data" / "light", "train.txt", "val.txt")
    peak = lr * BATCH / per_batch if per_batch else lr
    made = OPTIMISERS[optimiser](parts(model, decays["weight_decay"], decays["head_weight_decay"]))
    # float32 sums in another order, a hundred steps of training at the most: 1e-3 is a lot, and
    losses = by_hand(model, images, labels, made, peak)
    # float32 sums in another order: here 1e-6 apart, so 1e-4 on any processor
    assert record["outcome"]["losses"] == pytest.approx(losses, rel=1e-4)
    with torch.no_grad():
        scores = model.eval()(as_listed(cards / "data" / "light", "test.txt")[0])
    kept = read_predictions(tmp_path / "predictions" / f"{record['cell']}.npz")
    sure = (scores[:, 0] - scores[:, 1]).abs() > 1e-2  # of the others rounding decides
    assert sure.sum() > 8
    assert kept.classes[sure].tolist() == scores.argmax(1)[sure].tolist()
