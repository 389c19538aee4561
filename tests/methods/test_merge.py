"""Methods that fold into plain weights: the merged model scores the same."""

import pytest
import torch
from torch import nn

import methods
from bench.models import small_models
from methods.shared.backbone import with_weights
from methods.shared.merge import merge_adapters

# A strict list: a new method stands in it, or is refused.
MERGEABLE = {
    "full", "linear", "bias", "ln", "lora", "lora_noah", "lora_qv", "ssf", "fact_tt", "fact_tk",
    "repadapter", "difffit", "partial1", "lora_mul_vpt_add", "pace", "pace_lora",
    "bi_lora",
    "arc", "rlrr", "snell", "gps",
    "sensitivity_lora",
    *(f"peft_{name}" for name in (
        "adalora", "adamss", "beft", "boft", "c3a", "deft", "delora", "dora", "fourierft", "glora",
        "gralora", "hira", "hra", "ia3", "ln", "loha", "lokr", "lora", "miss", "oft", "olora",
        "peanut", "pissa", "psoft", "pvera", "randlora", "road", "rslora", "shira", "supertuning",
        "tinylora", "unilora", "vblora", "vera", "waveft",
    )),
}  # fmt: skip
# Of scores that reach some 30. Float64 rounds at 1e-15 of a value; these two compute in float32
# whatever the model's precision, which rounds at 1e-7 of it.
SINGLE = {"peft_c3a": 1e-5, "peft_deft": 1e-5}


def test_every_method_that_is_said_to_merge_is_registered():
    assert set(methods.names()) >= MERGEABLE


@pytest.mark.sample(14)
@pytest.mark.parametrize("name", sorted(MERGEABLE))
def test_a_merged_model_is_timm_s_own_and_scores_the_same(name):
    method = methods.create(name)
    with small_models.double_precision():
        bare = small_models.small_backbone().double()
        model = small_models.train_briefly(method, small_models.prepare_copy(method, bare))
        images = small_models.FakeBatches(torch.float64).batches[0][0]
        with torch.no_grad():
            before = model(images)
            if name not in ("full", "linear"):  # and training had made it another
                assert (before - bare(images)).abs().max() > 0.1
            merge_adapters(model)
            assert shapes(model) == shapes(bare)
            assert {type(m).__module__.split(".")[0] for m in model.modules()} <= {"torch", "timm"}
            torch.testing.assert_close(model(images), before, rtol=0, atol=SINGLE.get(name, 1e-9))


def shapes(model):
    return {name: value.shape for name, value in model.state_dict().items()}


@pytest.mark.sample(14)
@pytest.mark.parametrize("name", sorted(set(methods.names()) - MERGEABLE))
def test_every_other_method_cannot_be_merged_and_its_model_is_left_as_it_is(name):
    model = small_models.prepare_copy(methods.create(name), small_models.small_backbone())
    images = small_models.FakeBatches().batches[0][0]
    with torch.no_grad():
        before = [str(model), model(images)]
        with pytest.raises(methods.Unsupported, match=r"cannot (be merged|merge)"):
            merge_adapters(model)
        assert str(model) == before[0]
        assert torch.equal(model(images), before[1])


class Doubled(nn.Linear):
    """A layer that says that it can be folded, and is wrong."""

    def forward(self, x):
        return 2 * super().forward(x)

    def merged(self):
        return with_weights(nn.Linear(self.in_features, self.out_features), self.weight, self.bias)


def test_a_layer_that_folds_into_another_function_is_found_out():
    model = small_models.small_backbone()
    old = model.blocks[1].mlp.fc2
    model.blocks[1].mlp.fc2 = Doubled(old.in_features, old.out_features)
    before = str(model)
    with pytest.raises(methods.Unsupported, match="the merged model gives other logits, by"):
        merge_adapters(model)
    assert str(model) == before
