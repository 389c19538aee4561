"""Models between the start of a training and its end."""

import pytest
import torch

import methods
from bench.models import interpolation, small_models, weight_files
from methods.shared.structure import heads_of

MERGEABLE = ("full", "linear", "bias", "ln", "lora", "ssf", "peft_lora", "peft_pissa", "peft_dora",
             "gps", "sensitivity_lora", "repadapter", "rlrr")  # fmt: skip


def trained(name):
    """In float64: a model before training, and after it, with what a path is made from."""
    method, bare = methods.create(name), small_models.small_backbone().double()
    before = weight_files.tensor_ids(bare)
    torch.manual_seed(0)
    method.prepare(bare.eval(), small_models.FakeBatches(torch.float64))
    bare.eval()
    start = interpolation.copied_state(bare)
    images = small_models.FakeBatches(torch.float64).batches[0][0]
    with torch.no_grad():
        first = bare(images)
    return small_models.train_briefly(method, bare), start, before, images, first


@pytest.mark.parametrize(
    ("alpha", "mixed"), [(0.0, 2.0), (1.0, 6.0), (0.25, 3.0), (1.5, 8.0), (-0.5, 0.0)]
)
def test_a_mixture_is_on_the_line_through_start_and_end(alpha, mixed):
    start, end = torch.tensor([2.0]), torch.tensor([6.0])
    assert interpolation.mix(start, end, alpha).tolist() == [mixed]


def test_the_ends_of_a_mixture_are_the_ends_to_the_last_bit():
    start, end = torch.randn(2, 1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(interpolation.mix(start, end, 0.0), start)
    assert torch.equal(interpolation.mix(start, end, 1.0), end)


def test_counts_are_not_mixed():
    start, end = torch.tensor(1), torch.tensor(4)
    assert interpolation.mix(start, end, 0.5) == 4


@pytest.mark.sample(4)
@pytest.mark.parametrize("name", MERGEABLE)
def test_a_path_of_merged_weights_goes_from_the_start_to_the_end(name):
    with small_models.double_precision():
        model, start, before, images, first = trained(name)
        with torch.no_grad():
            last = model(images)
            path = interpolation.weight_path(model, start, before)
            torch.testing.assert_close(path.at(0.0)(images), first, rtol=0, atol=1e-9)
            torch.testing.assert_close(path.at(1.0)(images), last, rtol=0, atol=1e-9)
            torch.testing.assert_close(path.at(0.0)(images), first, rtol=0, atol=1e-9)
            torch.testing.assert_close(model(images), last, rtol=0, atol=0)


def test_the_models_of_a_path_have_timms_own_modules_and_a_mixed_head():
    with small_models.double_precision():
        model, start, before, *_ = trained("lora")
        [end] = heads_of(model)
        middle = interpolation.weight_path(model, start, before).at(0.5)
        kinds = {type(module).__module__.split(".")[0] for module in middle.modules()}
        assert kinds <= {"torch", "timm"}
        [head] = heads_of(middle)
        torch.testing.assert_close(head.weight, (start["head.weight"] + end.weight) / 2)


def test_what_cannot_be_merged_has_no_path_of_weights():
    with small_models.double_precision():
        model, start, before, *_ = trained("vpt_deep")
        with pytest.raises(methods.Unsupported, match="cannot be merged"):
            interpolation.weight_path(model, start, before)
