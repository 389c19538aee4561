"""Adapters of one bit a weight: two values in training, bits in a file, the printed sizes."""

from statistics import fmean

import pytest
import timm
import torch

import methods
from bench.config.suite import load_suite
from bench.models import small_models, weight_files
from methods.shared.binary import LEVEL, BinaryLinear, binary_weights, pack_binary, unpack_binary
from support import official_numbers

NAMES = ["bi_adaptformer", "bi_adaptformer_1", "bi_lora"]


@pytest.fixture(name="layer")
def made_layer():
    torch.manual_seed(0)
    return BinaryLinear(7, 5).double()


def test_a_weight_has_two_values_at_the_quartiles_of_its_own_gaussian(layer):
    weight, quantised = layer.weight.detach(), layer.quantised_weight().detach()
    low, high = quantised.unique().tolist()
    assert [low, high] == pytest.approx(
        [(weight.mean() + side * LEVEL * weight.std()).item() for side in (-1, 1)]
    )
    assert torch.equal(quantised == high, weight > weight.mean())


def test_a_gradient_passes_the_quantisation_as_if_it_were_the_identity(layer):
    weight = layer.weight.detach().clone().requires_grad_(True)
    plain = (weight - weight.mean()) / (weight.std() + 1e-5)
    value = LEVEL * plain.detach().sign()
    through = (plain - plain.detach() + value) * weight.std() + weight.mean()
    toward = torch.randn(5, 7, dtype=torch.float64)
    (through * toward).sum().backward()
    (layer.quantised_weight() * toward).sum().backward()
    torch.testing.assert_close(layer.weight.grad, weight.grad)
    assert weight.grad.count_nonzero() == weight.numel()


def test_a_file_holds_a_bit_a_weight_and_two_numbers_a_tensor(layer):
    model = torch.nn.Sequential(layer)
    packed = pack_binary(model, {"0.weight": layer.weight.detach()})
    assert {name: value.dtype for name, value in packed.items()} == {
        "0.weight.bits": torch.uint8,
        "0.weight.moments": torch.float32,
    }
    assert weight_files.num_bytes(packed) == 5 + 8  # 35 bits


@pytest.mark.parametrize("fill", [None, 0.0, 0.5])
def test_what_is_read_back_is_quantised_to_the_same_values(layer, fill):
    if fill is not None:
        layer.weight.data.fill_(fill)
    layer.float()
    model, expected = torch.nn.Sequential(layer), layer.quantised_weight().detach().clone()
    packed = pack_binary(model, {"0.weight": layer.weight.detach().clone()})
    model.load_state_dict(unpack_binary(model, packed))
    torch.testing.assert_close(layer.quantised_weight(), expected, rtol=0, atol=1e-6)


def test_a_file_without_its_bits_is_left_for_the_reader_to_refuse(layer):
    assert unpack_binary(torch.nn.Sequential(layer), {}) == {}


# KiB in the released code's README, head included, as its row of linear probing: 140.8, which is
# that of 46.9 classes; its released files are larger, those of the 49.5 that the tasks have
@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("name", "fields", "printed", "released"),
    [
        ("bi_adaptformer", {}, 212.9, 220.80),
        ("bi_adaptformer", {"binary_head": True}, 76.6, 76.83),
        ("bi_adaptformer_1", {}, 6.8, 7.08),
        ("bi_lora", {}, 285.1, None),
        ("bi_lora", {"binary_head": True}, 148.8, None),
        ("bi_lora", {"rank": 1, "binary_head": True}, 9.2, None),
    ],
)
def test_stored_bytes_are_the_printed_ones_and_those_of_the_released_files(
    name, fields, printed, released
):
    sizes = [stored_bytes(name, fields, count) / 1024 for count in (10, 20)]

    def at(classes):
        return sizes[0] + (classes - 10) * (sizes[1] - sizes[0]) / 10

    assert at(140.8 * 1024 / 4 / 769) == pytest.approx(printed, abs=0.12)
    if released:
        classes = fmean(task.classes for task in load_suite("vtab1k").task)
        assert at(classes) == pytest.approx(released, abs=0.01)


def stored_bytes(name, fields, classes):
    with torch.device("meta"):
        model = timm.create_model("vit_base_patch16_224", num_classes=classes)
        model.requires_grad_(False)
        model.head.requires_grad_(True)
        bare, method = weight_files.tensor_ids(model), methods.create(name, **fields)
        method.attach(model)
        state = {n: p for n, p in model.state_dict(keep_vars=True).items() if p.requires_grad}
        assert not {id(p) for n, p in state.items() if "head" not in n} & bare
        return weight_files.num_bytes(method.pack(model, state))


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_that_is_added_is_binary(name):
    model = small_models.prepare_copy(methods.create(name), small_models.small_backbone())
    added = {n for n, p in model.named_parameters() if p.requires_grad and "head" not in n}
    assert added == {n for n in binary_weights(model) if "head" not in n}


CASES = {
    "bi_adaptformer": {"scale": 0.1},
    "bi_lora": {"scale": 0.5},
    "bi_adaptformer_1": {"scale": 0.1},
}


@pytest.mark.parametrize("name", CASES)
def test_logits_gradients_and_what_is_read_back_are_those_of_the_official_code(name):
    method, model = methods.create(name, **CASES[name]), official_numbers.network()
    expected = official_numbers.stored("binary_adapter")[name]
    bare = weight_files.tensor_ids(model)
    method.attach(model)
    model.double().eval()
    learnt = {n: p for n, p in model.named_parameters() if p.requires_grad}
    official_numbers.fill(learnt)
    images, labels = official_numbers.batch()
    logits = model(images)
    loss = torch.nn.functional.cross_entropy(logits, labels)
    loss.backward()
    gradients = {n: learnt[n].grad for n in expected["gradients"]}
    stored = weight_files.stored_tensors(method, model, bare)
    unpacked = method.unpack(model, stored)
    model.load_state_dict(unpacked, strict=False)
    with torch.no_grad():
        read_back = model(images)
    found = {
        "logits": logits.tolist(),
        "loss": loss.item(),
        "gradients": official_numbers.gradient_numbers(gradients),
    }
    theirs = {key: expected[key] for key in found}
    assert official_numbers.largest_difference(found, theirs) < 1e-9
    assert read_back.flatten().tolist() == pytest.approx(
        torch.tensor(expected["read_back"]).flatten().tolist(), abs=1e-5
    )
    ours = sum(v.numel() * min(v.element_size(), 4) for v in stored.values())  # heads in float32
    assert ours == expected["bytes"]
