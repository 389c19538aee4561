"""Methods on Swin: prompts in every window, mergings of patches, and VPT's Table 2."""

import copy

import pytest
import torch
import torch.nn.functional as F

import methods
from bench.models import method_checks, small_models
from methods import Unsupported
from methods.shared.prompts import prompts_of
from methods.shared.stages import StagedBlocks
from methods.shared.structure import blocks_of
from support import small_networks

SERVED = [
    "full", "linear", "partial1", "mlp3", "sidetune", "bias", "adapter", "adapter_houlsby",
    "adaptformer", "adapter_plus", "snf", "repadapter", "ln", "difffit", "vpt_shallow", "vpt_deep",
    "lora", "lora_qv", "peft_lora", "peft_ln", "peft_ia3", "peft_vera", "gps", "snell",
    "sensitivity_lora", "sensitivity_adapter",
]  # fmt: skip
CHECKED = [
    "partial1", "bias", "adapter", "adaptformer", "vpt_shallow", "vpt_deep", "lora", "peft_lora",
    "gps", "snell", "sensitivity_lora",
]  # fmt: skip
CHECKS = ["batch_independence", "checkpointing", "copy", "half_precision", "reload"]


@pytest.fixture
def exact():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def prompted(bare, name, **fields):
    torch.manual_seed(1)
    model = copy.deepcopy(bare)
    methods.create(name, **fields).attach(model)
    return model.eval()


# Prompts, window by window


def attend_in_window(block, window, tokens, prompts):
    """One window of one image: its attention with the prompts in front, (P + N, D)."""
    attn, count = block.attn, len(prompts)
    x = torch.cat([prompts, tokens])
    q, k, v = attn.qkv(x).reshape(len(x), 3, attn.num_heads, -1).permute(1, 2, 0, 3)
    logits = q @ k.mT * attn.scale
    logits[:, count:, count:] += attn._get_rel_pos_bias()[0]
    if block.attn_mask is not None:
        logits[:, count:, count:] += block.attn_mask[window]
    return attn.proj((logits.softmax(-1) @ v).transpose(0, 1).flatten(1))


def run_block(block, x, prompts):
    """One image, (H, W, D), through a block, window by window; the mean of the prompts' copies."""
    (height, width), (rows, columns) = x.shape[:2], block.window_size
    shift = block.shift_size
    seen = torch.roll(block.norm1(x), (-shift[0], -shift[1]), (0, 1))
    seen = F.pad(seen, (0, 0, 0, -width % columns, 0, -height % rows))
    attended, of_prompts, window = torch.zeros_like(seen), [], 0
    for top in range(0, seen.shape[0], rows):
        for left in range(0, seen.shape[1], columns):
            place = slice(top, top + rows), slice(left, left + columns)
            out = attend_in_window(block, window, seen[place].flatten(0, 1), block.norm1(prompts))
            of_prompts.append(out[: len(prompts)])
            attended[place] = out[len(prompts) :].unflatten(0, (rows, columns))
            window += 1
    x = x + torch.roll(attended[:height, :width], shift, (0, 1))
    prompts = prompts + torch.stack(of_prompts).mean(0)
    return tuple(y + block.mlp(block.norm2(y)) for y in (x, prompts))


def logits(bare, images, deep=None, shallow=None, carry=False, pool=False):
    """The scores of a plain Swin with prompts for each block, or for the first alone."""
    return torch.stack([logits_of_one(bare, one, deep, shallow, carry, pool) for one in images])


def logits_of_one(bare, image, deep, shallow, carry, pool):
    x, prompts, i = bare.patch_embed(image[None])[0], shallow, 0
    for stage in bare.layers:
        if stage is not bare.layers[0]:
            if carry:  # as four equal patches, side by side
                side_by_side = prompts[:, None].expand(-1, 4, -1).reshape(-1, 2, 2, x.shape[-1])
                prompts = stage.downsample(side_by_side)[:, 0, 0]
            else:
                prompts = prompts[:0, :1].expand(0, stage.blocks[0].dim) if deep is None else None
            x = stage.downsample(x[None])[0]
        for block in stage.blocks:
            x, prompts = run_block(block, x, prompts if deep is None else deep[i])
            i += 1
    tokens = torch.cat([prompts, x.flatten(0, 1)]) if pool else x.flatten(0, 1)
    return bare.head.fc(bare.norm(tokens).mean(0))


@pytest.mark.sample(4)
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("network", ["swin", "swin_padded"])
@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("form", ["keys_and_values", "concatenation"])
def test_deep_prompts_are_in_every_window_of_every_block(exact, form, pool, network, fused):
    bare, images = small_networks.build(network).double(), small_models.FakeBatches(torch.float64)
    for module in bare.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = fused
    images = images.batches[0][0]
    model = prompted(bare, "vpt_deep", prompts=3, form=form, pool_prompts=pool)
    with torch.no_grad():
        wanted = logits(bare, images, deep=prompts_of(model), pool=pool)
        torch.testing.assert_close(model(images), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("network", ["swin", "swin_padded"])
@pytest.mark.parametrize(
    ("carry", "pool"), [(False, False), (False, True), (True, False), (True, True)]
)
def test_shallow_prompts_end_at_the_first_merging_unless_they_are_carried(
    exact, network, carry, pool
):
    bare = small_networks.build(network).double()
    images = small_models.FakeBatches(torch.float64).batches[0][0]
    fields = {"prompts": 3, "pool_prompts": pool, "carry_prompts": carry}
    model = prompted(bare, "vpt_shallow", **fields)
    with torch.no_grad():
        (prompts,) = prompts_of(model)
        wanted = logits(bare, images, shallow=prompts, carry=carry, pool=pool and carry)
        torch.testing.assert_close(model(images), wanted, rtol=0, atol=1e-12)


def test_a_network_with_a_single_block_a_stage_takes_shallow_prompts(exact):
    bare = small_networks.build("swin").double()
    for stage in bare.layers:
        stage.blocks = stage.blocks[:1]
    images = small_models.FakeBatches(torch.float64).batches[0][0]
    model = prompted(bare, "vpt_shallow", prompts=3)
    with torch.no_grad():
        wanted = logits(bare, images, shallow=prompts_of(model)[0])
        torch.testing.assert_close(model(images), wanted, rtol=0, atol=1e-12)


def test_prompts_are_as_wide_as_their_stage_and_start_within_one_bound():
    with torch.no_grad():
        model = prompted(small_networks.build("swin"), "vpt_deep", prompts=500)
    found = prompts_of(model)
    assert [prompts.shape[1] for prompts in found] == [16, 16, 32, 64, 64]
    bound = (6 / (3 * 4 * 4 + 16)) ** 0.5
    for prompts in found:
        assert 0.99 * bound < prompts.abs().max().item() <= bound


def test_prompts_pass_mergings_only_where_there_are_some():
    with pytest.raises(Unsupported, match="it merges no patches"):
        prompted(small_models.small_backbone(), "vpt_shallow", carry_prompts=True)
    with pytest.raises(ValueError, match="carry_prompts is for shallow prompts"):
        methods.create("vpt_deep", carry_prompts=True)


def test_one_projection_does_not_serve_stages_of_other_widths():
    with pytest.raises(Unsupported, match="merges them between its 3 stages"):
        prompted(small_networks.build("swin"), "vpt_deep", projection=8)


def test_prompts_need_to_know_how_many_patches_there_are():
    bare = small_networks.build("swin")
    for block in blocks_of(bare):
        block.dynamic_mask = True
    with pytest.raises(Unsupported, match="of a size known beforehand"):
        prompted(bare, "vpt_shallow", prompts=3)


# Blocks


def test_blocks_of_all_stages_stand_in_a_row():
    model = small_networks.build("swin")
    blocks = blocks_of(model)
    assert isinstance(blocks, StagedBlocks)
    assert [block.dim for block in blocks] == [16, 16, 32, 64, 64]
    assert list(blocks[-2:]) == list(model.layers[2].blocks)
    blocks[2] = torch.nn.Identity()
    assert isinstance(model.layers[1].blocks[0], torch.nn.Identity)
    with pytest.raises(TypeError):
        del blocks[0]
    with pytest.raises(TypeError):
        blocks.append(torch.nn.Identity())


# The contract


def check_on_swin(name, check):
    fields = {"prompts": 3} if name.startswith("vpt_") else {}
    method_checks.CHECKS[check](methods.create(name, **fields), small_networks.build("swin"))


@pytest.mark.sample(10)
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", CHECKED)
def test_the_contract_holds_on_swin(name, check):
    check_on_swin(name, check)


@pytest.mark.sample(6)
@pytest.mark.parametrize("name", SERVED)
def test_every_trainable_parameter_learns_on_swin(name):
    check_on_swin(name, "trainable_parameters")


@pytest.mark.parametrize("fields", [{}, {"pool_prompts": True}])
def test_carried_prompts_learn(fields):
    method = methods.create("vpt_shallow", prompts=3, carry_prompts=True, **fields)
    method_checks.check_trainable_parameters(method, small_networks.build("swin"))
    method_checks.check_checkpointing(method, small_networks.build("swin"))


@pytest.mark.sample(16)
@pytest.mark.parametrize("name", methods.names())
def test_swin_is_served_or_refused_in_a_sentence(name):
    model = small_networks.on_meta("swin", classes=2)
    refusal = small_networks.refusal(methods.create(name), model)
    assert not refusal or name not in SERVED
    assert not refusal or 4 < len(refusal.split()) < 40


# Parameters of Swin-B, as VPT's Table 2 prints them: with all 19 tasks, times the backbone's

SWIN_B, CLASSES = "swin_base_patch4_window7_224", 940  # of the 19 tasks together
PRINTED = {
    "full": 19.01, "linear": 1.01, "mlp3": 1.47, "partial1": 3.77, "bias": 1.06,
}  # fmt: skip


def learning(name, **fields):
    model = small_networks.on_meta(SWIN_B)
    methods.create(name, **fields).attach(model)
    model.get_classifier().requires_grad_(False)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def total(name, **fields):
    """The backbone, what each of 19 tasks trains beside it, and the heads; over the backbone."""
    own, heads = learning("full"), CLASSES * (1024 + 1)
    trained = 19 * learning(name, **fields) + heads
    return (trained if name == "full" else own + trained) / own


@pytest.mark.sample(2)
@pytest.mark.parametrize(("name", "printed"), PRINTED.items())
def test_total_parameters_are_those_that_table_4_prints(name, printed):
    assert round(total(name), 2) == printed


@pytest.mark.long
def test_each_deep_prompt_costs_12032_and_a_shallow_one_128():
    assert learning("full") == 86_743_224
    assert learning("vpt_deep", prompts=10) == 10 * 12_032
    assert learning("vpt_shallow", prompts=50) == 50 * 128
    assert round(total("vpt_shallow", prompts=50), 2) == 1.01
    assert round(total("vpt_deep", prompts=14), 2) == 1.05  # the mean of the paper's lengths
