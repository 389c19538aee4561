"""Updates that are linear in a scale: which methods have them, and what a share of it is."""

import copy

import pytest
import torch

import methods
from bench.models import interpolation, small_models, weight_files
from methods.shared import scales
from methods.shared.merge import merge_adapters

# A strict list: a new method stands in it, or is refused.
LINEAR = {
    "lora", "lora_noah", "lora_qv", "pace_lora", "fact_tt", "fact_tk", "repadapter",
    "adaptformer", "convpass", "peft_lora", "peft_rslora",
}  # fmt: skip
MERGE, WITHOUT_MERGING = LINEAR - {"adaptformer", "convpass"}, {"adaptformer", "convpass"}


def prepared(name):
    """A method's model on the small backbone, and the tensors that came before the method."""
    bare = small_models.small_backbone()
    before = weight_files.tensor_ids(bare)
    torch.manual_seed(0)
    methods.create(name).prepare(bare, small_models.FakeBatches(small_models.dtype_of(bare)))
    return bare.eval(), before


def trained(name):
    """In float64: a trained model, its tensors at the start, and those that came before."""
    bare = small_models.small_backbone().double()
    before = weight_files.tensor_ids(bare)
    method = methods.create(name)
    torch.manual_seed(0)
    method.prepare(bare, small_models.FakeBatches(torch.float64))
    start = interpolation.copied_state(bare)
    return small_models.train_briefly(method, bare), start, before


@pytest.mark.parametrize("name", sorted(LINEAR))
def test_a_method_whose_update_is_linear_in_a_scale_may_go_along_it(name):
    scales.require_linear_updates(*prepared(name))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("full", "it has no update with a scale"),
        ("bias", "it has no update with a scale"),
        ("vpt_deep", "it trains blocks.0.prompts, in no update that is linear in a scale"),
        ("ssf", "it trains patch_embed.proj.scale, in no update"),
        ("adapter", "it trains blocks.0.mlp.adapter.down.weight, in no update"),
        ("peft_dora", "it trains .*lora_A.* in no update"),
        ("peft_pissa", "its update is not zero at the start"),
        ("bi_adaptformer", "its update is not zero at the start"),
        ("sensitivity_lora", "it trains .*deltas, in no update"),
    ],
)
def test_any_other_method_is_refused_with_what_it_does_not_allow(name, why):
    model, before = prepared(name)
    with pytest.raises(methods.Unsupported, match=why):
        scales.require_linear_updates(model, before)


def test_a_list_of_linear_methods_is_complete():
    """Of the methods that keep scores at the start, in a second each; the slow ones are above."""
    found = set()
    for name in {n for n in methods.names() if not n.startswith(("peft_", "spt_", "vpt_"))}:
        try:
            scales.require_linear_updates(*prepared(name))
        except methods.Unsupported:
            continue
        found.add(name)
    assert found == {name for name in LINEAR if not name.startswith("peft_")}


def test_asking_leaves_the_model_as_it_was():
    model, before = prepared("lora")
    full = [scale.value for scale in scales.update_scales(model)]
    scales.require_linear_updates(model, before)
    assert [scale.value for scale in scales.update_scales(model)] == full
    assert all(full)


@pytest.mark.sample(8)
@pytest.mark.parametrize("name", sorted(MERGE))
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0, 1.5])
def test_alpha_on_the_scale_is_alpha_on_the_merged_weights(name, alpha):
    with small_models.double_precision():
        model, start, before = trained(name)
        images = small_models.FakeBatches(torch.float64).batches[0][0]
        by_weights = interpolation.weight_path(model, start, before).at(alpha)
        own = interpolation.scale_path(model, start, before).at(alpha)
        with torch.no_grad():
            torch.testing.assert_close(own(images), by_weights(images), rtol=0, atol=1e-9)


def test_dora_is_not_linear_in_its_scale():
    """Its scale, set to a half, is not the half of its way: it divides by the norm of the sum."""
    with small_models.double_precision():
        model, start, before = trained("peft_dora")
        images = small_models.FakeBatches(torch.float64).batches[0][0]
        half = interpolation.weight_path(model, start, before).at(0.5)
        for module in model.modules():
            if hasattr(module, "scaling"):
                module.scaling["default"] *= 0.5
        for name, tensor in model.named_parameters():
            if name.startswith("head.") or "magnitude" in name:
                tensor.data = interpolation.mix(start[name], tensor.data, 0.5)
        with torch.no_grad():
            assert (model(images) - half(images)).abs().max() > 1e-4


@pytest.mark.parametrize("name", sorted(WITHOUT_MERGING))
def test_what_cannot_be_merged_goes_from_its_start_to_its_end(name):
    with small_models.double_precision():
        model, start, before = trained(name)
        images = small_models.FakeBatches(torch.float64).batches[0][0]
        first = copy.deepcopy(model)
        first.load_state_dict(start)
        with torch.no_grad():
            end, begin = model(images), first(images)
            path = interpolation.scale_path(model, start, before)
            torch.testing.assert_close(path.at(0.0)(images), begin, rtol=0, atol=1e-12)
            assert (path.at(0.5)(images) - begin).abs().max() > 1e-3
            torch.testing.assert_close(path.at(1.0)(images), end, rtol=0, atol=1e-12)
            with pytest.raises(methods.Unsupported):
                merge_adapters(model)
