"""Properties of VIPAMIN's initial prompts."""

import json

import pytest
import timm
import torch
import torch.nn.functional as F

import methods
import methods.vipamin
import methods.vpt
from bench.models import small_models
from methods import Unsupported
from methods.shared.prompts import prompts_of
from methods.shared.structure import embed_images
from methods.vipamin import first_block, value_projection
from support import seeded_models
from support.paths import GOLDEN

OFFICIAL = json.loads((GOLDEN / "official" / "vipamin.json").read_text(encoding="utf-8"))

pytestmark = pytest.mark.usefixtures("double_precision")


def bare():
    """A ViT of 16 patches, fewer than its 64 channels."""
    torch.manual_seed(0)
    size = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 4}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=5, **size).requires_grad_(False)
    torch.nn.init.normal_(model.blocks[0].attn.qkv.bias, std=0.1)
    return model.eval()


def images(count=4):
    drawn = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, 32, 32, generator=drawn, dtype=torch.float64)


def started(model, batches=None, **fields):
    torch.manual_seed(1)
    given = batches or [(images(), torch.zeros(4))]
    methods.create("vipamin", **{"prompts": 6, "matched": 3, **fields}).prepare(model, given)
    return prompts_of(model)[0].detach()


def test_a_matched_prompt_is_the_mean_of_the_patches_with_the_most_similar_keys():
    model, plain = bare(), bare()
    torch.manual_seed(1)
    methods.create("vpt_shallow", prompts=6).attach(model)
    drawn, block = prompts_of(model)[0].detach(), plain.blocks[0]
    with torch.no_grad():
        x = embed_images(plain, images())
        x = torch.cat([x[:, :1], drawn.expand(4, -1, -1), x[:, 1:]], 1)
        keys = block.attn.qkv(block.norm1(x)).unflatten(2, (3, 4, 16))[:, :, 1].mean((0, 2))
    likeness = F.cosine_similarity(keys[1:7, None], keys[None, 7:], dim=-1)
    nearest = likeness.argsort(1, descending=True)[:, :3]
    wanted = x[:, 7:].mean(0)[nearest].mean(1)
    torch.testing.assert_close(started(bare(), novelty=0.0), wanted)


@pytest.mark.parametrize(("back", "beside"), [("inverse", True), ("transposed", False)])
def test_new_tokens_have_values_beside_the_span_of_the_block_s_own(back, beside):
    model = bare()
    found = first_block(model, [images()])
    weight, bias = value_projection(model.blocks[0].attn, 64)
    values = started(model, novelty=1.0, back=back) @ weight.T + bias
    inside = (values @ found.mixed.T).abs().max().item()
    assert (inside < 1e-9) is beside


def test_the_two_parts_are_mixed_by_their_share():
    matched, mixed, new = (started(bare(), novelty=share) for share in (0.0, 0.25, 1.0))
    torch.testing.assert_close(mixed, 0.75 * matched + 0.25 * new)


def test_values_are_made_by_the_last_third_of_the_fused_layer():
    attn = bare().blocks[0].attn
    weight, bias = value_projection(attn, 64)
    torch.testing.assert_close(weight, attn.qkv.weight[128:])
    torch.testing.assert_close(bias, attn.qkv.bias[128:])


def test_means_are_over_the_first_images_however_they_come_in_batches():
    one = started(bare(), [(images(6), torch.zeros(6))])
    parts = [(images(7)[i : i + 4], torch.zeros(4)) for i in (0, 4)]
    two = started(bare(), parts, images=6)
    torch.testing.assert_close(one, two)


def test_no_more_batches_are_read_than_are_needed():
    def batches():
        yield images(), torch.zeros(4)
        raise AssertionError("a second batch was read")

    started(bare(), batches(), images=4)


def test_where_tokens_span_all_channels_nothing_new_is_left():
    model = small_models.small_backbone().double()
    method = methods.create("vipamin", prompts=4, novelty=1.0)
    method.prepare(model, small_models.FakeBatches(torch.float64))
    prompts = prompts_of(model)[0].detach()
    torch.testing.assert_close(prompts, prompts[:1].expand(4, -1))


def test_the_backbone_is_read_in_evaluation_mode_and_left_in_its_own():
    model = bare()
    model.pos_drop.p = 0.5
    in_training = started(model.train())
    assert model.training
    assert torch.equal(in_training, started(bare()))


def test_more_matched_tokens_than_patches_are_refused():
    with pytest.raises(Unsupported, match="17 tokens are to be matched, and the grid has 16"):
        methods.create("vipamin", matched=17).attach(bare())


@pytest.mark.parametrize(
    ("field", "value"), [("novelty", 1.5), ("back", "none"), ("matched", 0), ("images", 0)]
)
def test_a_field_out_of_range_is_refused(field, value):
    with pytest.raises(ValueError, match="was given"):
        methods.create("vipamin", **{field: value})


@pytest.mark.parametrize("label", OFFICIAL)
def test_prompts_start_as_the_official_code_s_do(label, monkeypatch):
    case = OFFICIAL[label]
    method = methods.create(case["method"], **case["fields"])
    names = iter(["random prompts", "fresh prompts"])
    for module in (methods.vpt, methods.vipamin):
        monkeypatch.setattr(
            module,
            "uniform_prompts",
            lambda *_: seeded_models.drawn(next(names), method.prompts, 192, within=0.1),
        )
    model = seeded_models.backbone(size=case["size"])
    method.prepare(model, [(seeded_models.images(case["size"]), torch.zeros(2))])
    found = seeded_models.summary(prompts_of(model)[0])
    assert found == pytest.approx(case["outputs"]["prompts"], rel=1e-9)
