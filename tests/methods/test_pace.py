"""PACE: noise on what adapters add, and a loss of two passes; without both it is its base."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import methods
from bench.models import small_models
from methods.pace import NoisyBranch, NoisyLayer
from support import official_numbers

LABELS = torch.tensor([0, 1, 2, 3])


def prepared(name: str, **fields):
    method = methods.create(name, **fields)
    return method, small_models.prepare_copy(method, small_models.small_backbone())


def trained(method, model):
    """The model after some steps, whose adapters then add something."""
    torch.manual_seed(1)
    return small_models.train_briefly(method, model)


BASES = ["lora_mul_vpt_add", "lora", "adapter", "adapter_plus", "convpass", "fact_tk", "peft_lora"]


@pytest.mark.parametrize("base", BASES)
def test_without_noise_and_consistency_it_is_its_base_bit_for_bit(base):
    plain, own = prepared(base)
    pace, wrapped = prepared("pace", base=base, sigma=0.0, consistency=0.0)
    one, other = trained(plain, own).state_dict(), trained(pace, wrapped).state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_noise_is_one_number_per_image_and_channel():
    branch = NoisyBranch(torch.nn.Identity(), 0.5).train()
    noise = branch(torch.ones(3, 7, 5))
    assert torch.equal(noise, noise[:, :1].expand(3, 7, 5))
    assert len(noise[:, 0].flatten().unique()) == 3 * 5
    torch.manual_seed(0)
    many = branch(torch.ones(400, 2, 100))[:, 0]
    assert many.mean().item() == pytest.approx(1, abs=0.02)
    assert many.std().item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("first", "sigmas", "head"), [(False, [0.0, 0.9, 0.6], 0.3), (True, [0.9, 0.675, 0.45], 0.225)]
)
def test_the_deviation_falls_in_a_line_from_the_first_noisy_block_to_the_head(first, sigmas, head):
    pace, model = prepared("pace_lora", sigma=0.9, first_block=first)
    updates = [block.attn.qkv.update for block in model.blocks]
    assert [getattr(one, "sigma", 0.0) for one in updates] == pytest.approx(sigmas)
    assert pace._sigma_at(3, model) == pytest.approx(head)


def test_noise_is_drawn_in_training_alone():
    pace, model = prepared("pace_lora")
    images = small_models.FakeBatches().batches[0][0]
    trained(pace, model)
    assert torch.equal(model(images), model(images))
    model.train()
    assert not torch.equal(model(images), model(images))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_loss_is_cross_entropy_and_the_squared_distance_of_two_passes(reduction):
    pace, model = prepared("pace_lora", consistency=0.7, head=False)
    first, second = torch.randn(2, 4, 5)
    loss = pace.loss(model, lambda x: torch.cat([first, second]), torch.ones(4), LABELS, reduction)
    squares = (first - second).square().sum(1)
    expected = F.cross_entropy(first, LABELS, reduction="none") + 0.7 * squares
    torch.testing.assert_close(loss, getattr(expected, reduction)())


def test_both_passes_are_over_the_same_batch_and_pay_twice():
    pace, model = prepared("pace_lora")
    images, labels = small_models.FakeBatches().batches[0]
    seen = []

    def forward(inputs):
        seen.append(inputs)
        return model(inputs)

    pace.loss(model, forward, images, labels)
    assert torch.equal(torch.cat(seen), torch.cat([images, images]))


def test_a_row_that_fills_a_process_s_shard_counts_in_neither_part():
    pace, model = prepared("pace_lora", sigma=0.5)
    images = small_models.FakeBatches().batches[0][0]
    padding = torch.full((4,), -100)
    assert pace.loss(model.train(), model, images, padding, reduction="sum").item() == 0


def test_its_merged_adapters_have_no_noise():
    pace, model = prepared("pace")
    layer = model.blocks[1].attn.qkv
    x = torch.randn(2, 3, 64)
    trained(pace, model)
    torch.testing.assert_close(layer.merged()(x), layer(x))


@pytest.mark.parametrize("base", ["fact_tk", "repadapter", "ssf", "peft_lora"])
def test_an_adapter_without_an_output_of_its_own_has_noise_on_what_it_changes(base):
    method, model = prepared("pace", base=base, sigma=0.3, first_block=True)
    layer = trained(method, model).blocks[0].attn.qkv
    assert isinstance(layer, NoisyLayer)
    x, (frozen,) = torch.randn(2, 5, 64), layer.frozen
    for module in layer.modules():
        module.training = module is layer  # the base's dropout does not draw
    with torch.no_grad():
        plain, whole = frozen(x), layer.inner(x)
        torch.manual_seed(2)
        found = layer(x)
    torch.manual_seed(2)
    noise = 1 + 0.3 * torch.randn(2, 1, 192)  # for the queries, keys and values of each image
    assert (whole - plain).abs().max() > 1e-3
    torch.testing.assert_close(found, plain + noise * (whole - plain))


@pytest.mark.parametrize("base", ["pace_lora", "da_vpt_plus", "nothing"])
def test_what_is_no_base_is_refused(base):
    said = f"base must be another method, without a loss of its own; '{base}' was given"
    with pytest.raises(ValueError, match=said):
        methods.create("pace", base=base)


@pytest.mark.parametrize("field", ["sigma", "consistency"])
def test_a_negative_strength_is_refused(field):
    with pytest.raises(ValueError, match=f"{field} must be at least 0; -1.0 was given"):
        methods.create("pace", **{field: -1.0})


def test_a_base_without_outputs_of_its_own_is_refused_in_one_sentence():
    with pytest.raises(methods.Unsupported, match="acts on what adapters add"):
        prepared("pace", base="vpt_deep")


class Draws:
    """`torch.randn`, with numbers that are the same on each processor."""

    def __init__(self):
        self.generator = np.random.default_rng(0)

    def __call__(self, shape, device=None):
        return torch.from_numpy(self.generator.standard_normal(shape))


@pytest.mark.parametrize(
    ("name", "fields"), [("lora_mul_vpt_add", {}), ("pace", {"sigma": 1.2})], ids=lambda x: str(x)
)
def test_logits_loss_and_gradients_are_those_of_the_official_code(name, fields, monkeypatch):
    method, model = methods.create(name, **fields), official_numbers.network()
    expected = official_numbers.stored("pace")[name]
    method.attach(model.double())
    model.double()
    learnt = {n.replace(".inner", ""): p for n, p in model.named_parameters() if p.requires_grad}
    official_numbers.fill(learnt)
    images, labels = official_numbers.batch()
    with torch.no_grad():
        logits = model.eval()(images)
    monkeypatch.setattr(torch, "randn", Draws())
    loss = method.loss(model.train(), model, images, labels)
    loss.backward()
    gradients = {n: p.grad for n, p in learnt.items()}
    found = {
        "logits": logits.tolist(),
        "loss": loss.item(),
        "gradients": official_numbers.gradient_numbers(
            {name: gradients[name] for name in expected["gradients"]}
        ),
    }
    assert official_numbers.largest_difference(found, expected) < 1e-9
