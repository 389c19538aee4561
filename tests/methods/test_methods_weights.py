"""Methods that change or add weights, each against its formula."""

import copy
import math

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import ParallelScalingBlock, ResPostBlock
from torch import nn

import methods
from bench.models import small_models
from methods import Unsupported
from support.double_vits import images

MERGING = (
    *("lora", "lora_noah", "lora_qv", "fact_tt", "fact_tk"),
    *("ssf", "repadapter", "difffit"),
)
IDENTITY_AT_FIRST = (
    *("adapter", "adapter_houlsby", "adapter_vpt2022", "adaptformer", "convpass"),
    *("lora", "lora_noah", "lora_qv", "fact_tt", "fact_tk", "repadapter", "ln", "difffit"),
)
CHANGED_AT_FIRST = ("ssf", "snf", "adapter_plus", "adapter_noah")
MINE = sorted({*IDENTITY_AT_FIRST, *CHANGED_AT_FIRST})

DIM, TOKENS, PATCHES = 64, 65, 8


@pytest.fixture(autouse=True)
def _double():
    with small_models.double_precision():
        yield


def bare(pooling="token", **changes):
    """The contract's backbone, or one with other parts, in double precision; all is frozen."""
    if not changes:
        return small_models.small_backbone(pooling).double().requires_grad_(False)
    torch.manual_seed(0)
    size = {"img_size": 64, "patch_size": 8, "embed_dim": 64, "depth": 3, "num_heads": 4}
    model = timm.create_model(
        "vit_tiny_patch16_224", num_classes=5, global_pool=pooling, **{**size, **changes}
    )
    for p in model.parameters():
        p.data.add_(torch.randn_like(p) * 0.1)
    return model.requires_grad_(False).eval()


def tokens(count=TOKENS):
    return torch.randn(2, count, DIM, generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def adapted(name, model=None, **fields):
    """The model with a method whose every parameter is random, so that nothing hides as a zero."""
    model = bare() if model is None else model
    methods.create(name, **fields).attach(model)
    torch.manual_seed(2)
    for p in model.parameters():
        if p.requires_grad:
            p.normal_(std=0.3)
    return model.requires_grad_(False).eval()


def merge(model):
    for name, module in list(model.named_modules()):
        if hasattr(module, "merged"):
            model.set_submodule(name, module.merged())


def close(found, want, tolerance=1e-12):
    torch.testing.assert_close(found, want, rtol=0, atol=tolerance)


def kinds(model):
    return [type(module) for module in model.modules()]


# All of them


@pytest.mark.sample(8)
@pytest.mark.parametrize("pooling", ["token", "avg"])
@pytest.mark.parametrize("name", IDENTITY_AT_FIRST)
def test_attaching_changes_no_score(name, pooling):
    model = bare(pooling)
    want = model(images())
    methods.create(name).attach(model)
    close(model.eval()(images()), want)


@pytest.mark.parametrize("name", CHANGED_AT_FIRST)
def test_attaching_changes_scores_a_little(name):
    model = bare()
    want = model(images())
    methods.create(name).attach(model)
    difference = (model.eval()(images()) - want).abs().max()
    assert 1e-6 < difference < 1


@pytest.mark.parametrize("name", IDENTITY_AT_FIRST)
def test_a_backbone_with_registers_and_further_norms_and_scales_is_served(name):
    model = bare(reg_tokens=2, init_values=0.1, qk_norm=True, pre_norm=True, no_embed_class=True)
    want = model(images())
    methods.create(name).attach(model)
    close(model.eval()(images()), want)


@pytest.mark.parametrize("name", MINE)
def test_a_backbone_without_class_token_is_served(name):
    model = bare("avg", class_token=False, fc_norm=False, qkv_bias=False)
    methods.create(name).attach(model)
    assert model.eval()(images()).isfinite().all()


@pytest.mark.parametrize("name", IDENTITY_AT_FIRST)
def test_a_block_s_further_arguments_reach_its_attention(name):
    model = bare()
    mask = torch.rand(TOKENS, TOKENS) > 0.5
    want = model.forward_features(images(), attn_mask=mask)
    methods.create(name).attach(model)
    close(model.eval().forward_features(images(), attn_mask=mask), want)


@pytest.mark.sample(8)
@pytest.mark.parametrize("changes", [{}, {"qkv_bias": False, "init_values": 0.1}])
@pytest.mark.parametrize("pooling", ["token", "avg"])
@pytest.mark.parametrize("name", MERGING)
def test_merged_weights_score_alike(name, pooling, changes):
    plain, method = bare(pooling, **changes), methods.create(name)
    model = copy.deepcopy(plain)
    method.attach(model)
    small_models.train_briefly(method, model)
    want = model(images())
    assert (want - plain(images())).abs().max() > 1e-4
    merge(model)
    assert kinds(model) == kinds(plain)
    close(model(images()), want, 1e-9)


OTHER_SCALE = {"lora": {"alpha": 2.0}, "lora_qv": {"alpha": 2.0}} | {
    name: {"scale": 0.5} for name in ("fact_tt", "fact_tk", "repadapter")
}


@pytest.mark.parametrize("name", MERGING)
def test_random_weights_at_another_scale_merge_too(name):
    model = adapted(name, **OTHER_SCALE.get(name, {}))
    want = model(images())
    merge(model)
    close(model(images()), want, 1e-9)


@pytest.mark.parametrize("name", sorted(set(MINE) - set(MERGING) - {"ln"}))
def test_what_is_not_linear_does_not_offer_to_merge(name):
    assert not any(hasattr(module, "merged") for module in adapted(name).modules())


BAD_FIELDS = [
    ("lora", {"rank": 0}, "LoRA's rank must be at least 1; 0 was given"),
    ("lora", {"dropout": 1.0}, "LoRA's dropout must be at least 0 and below 1; 1.0 was given"),
    ("lora", {"target": "k"}, "LoRA's target must be one of qkv, q_and_v; 'k' was given"),
    ("adapter", {"width": 0}, "an adapter's width must be at least 1; 0 was given"),
    ("adapter", {"place": "head"}, "an adapter's place must be one of mlp, attn_and_mlp; 'head'"),
    ("adapter", {"init": "ones"}, "an adapter's init must be one of identity, houlsby, xavier"),
    ("adapter", {"activation": "tanh"}, "an adapter's activation must be one of gelu, relu"),
    ("adaptformer", {"width": -1}, "AdaptFormer's width must be at least 1; -1 was given"),
    ("adapter_plus", {"width": 0}, "Adapter\\+'s width must be at least 1; 0 was given"),
    ("adapter_plus", {"drop_path": 1.0}, "Adapter\\+'s drop path must be at least 0 and below 1"),
    ("snf", {"flow_length": -1}, "SNF's flow length must be at least 0; -1 was given"),
    ("fact_tt", {"rank": 0}, "FacT's rank must be at least 1; 0 was given"),
    ("fact_tk", {"form": "cp"}, "FacT's form must be one of tensor_train, tucker, tucker_inter"),
    ("convpass", {"rank": 0}, "Convpass's rank must be at least 1; 0 was given"),
    ("repadapter", {"rank": 0}, "RepAdapter's rank must be at least 1; 0 was given"),
    ("repadapter", {"groups": 0}, "RepAdapter's number of groups must be at least 1; 0 was given"),
    (
        "repadapter",
        {"rank": 9},
        "RepAdapter's rank must be a multiple of its 2 groups; 9 was given",
    ),
]


@pytest.mark.parametrize(("name", "fields", "sentence"), BAD_FIELDS)
def test_a_field_out_of_range_is_refused_in_a_sentence(name, fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        methods.create(name, **fields)


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        *((name, {"block_fn": ParallelScalingBlock}, "needs") for name in MINE if name != "ln"),
        *((n, {"block_fn": ResPostBlock}, "ResPostBlock") for n in ("adapter", "snf", "convpass")),
        ("fact_tt", {"mlp_ratio": 2.5}, "64 × 64 tiles; 160 × 64 is no such weight"),
        ("ssf", {"norm_layer": "rmsnorm"}, "a LayerNorm with weights as norm1 in every block"),
        ("convpass", {"patch_drop_rate": 0.5}, "the whole map of patches"),
        ("repadapter", {"embed_dim": 68}, "68 channels do not make 8 groups"),
    ],
)
def test_an_unfit_backbone_is_refused_in_a_sentence_and_left_alone(name, changes, sentence):
    model = bare(**changes)
    before = kinds(model)
    fields = {"rank": 8, "groups": 8} if "embed_dim" in changes else {}
    with pytest.raises(Unsupported, match=sentence):
        methods.create(name, **fields).attach(model)
    assert kinds(model) == before


# Adapters


def bottleneck(adapter, activation, x):
    """Token by token, and channel by channel at the narrow place."""
    out = torch.empty_like(x)
    for b, n in torch.cartesian_prod(torch.arange(len(x)), torch.arange(x.shape[1])).tolist():
        low = [
            activation((w @ x[b, n] + bias).item())
            for w, bias in zip(adapter.down.weight, adapter.down.bias, strict=True)
        ]
        out[b, n] = adapter.up.weight @ torch.tensor(low) + adapter.up.bias
    return out


def gelu(x):
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def quick_gelu(x):
    return x / (1 + math.exp(-1.702 * x))


@pytest.mark.parametrize(("name", "bend"), [("adapter", gelu), ("adapter_noah", quick_gelu)])
def test_an_adapter_stands_behind_the_mlp_before_the_addition(name, bend):
    block, plain, x = adapted(name).blocks[1], bare().blocks[1], tokens()
    y = x + plain.attn(plain.norm1(x))
    z = plain.mlp(plain.norm2(y))
    close(block(x), y + z + bottleneck(block.mlp.adapter, bend, z))


def test_houlsby_s_stand_behind_attention_and_mlp():
    block, plain, x = adapted("adapter_houlsby").blocks[1], bare().blocks[1], tokens()
    a = plain.attn(plain.norm1(x))
    y = x + a + bottleneck(block.attn.adapter, gelu, a)
    z = plain.mlp(plain.norm2(y))
    close(block(x), y + z + bottleneck(block.mlp.adapter, gelu, z))


def test_adaptformer_s_reads_the_tokens_before_their_norm():
    block, plain, x = adapted("adaptformer").blocks[1], bare().blocks[1], tokens()
    y = x + plain.attn(plain.norm1(x))
    beside = bottleneck(block.adapter, lambda value: max(value, 0.0), y)
    close(block(x), y + plain.mlp(plain.norm2(y)) + 0.1 * beside)


def test_adaptformer_without_biases_is_that_with_biases_of_zero():
    plain = adapted("adaptformer", width=8)
    bare_of_biases = adapted("adaptformer", width=8, bias=False)
    weights = {n: p for n, p in plain.named_parameters() if ".adapter." in n and "bias" not in n}
    for name, p in plain.named_parameters():
        if ".adapter." in name and "bias" in name:
            p.zero_()
    for name, p in bare_of_biases.named_parameters():
        if ".adapter." in name:
            p.copy_(weights.pop(name))
    assert not weights
    bare_of_biases.head.load_state_dict(plain.head.state_dict())
    close(bare_of_biases(images()), plain(images()))


@pytest.mark.parametrize("biased", [True, False])
def test_adaptformer_s_biases_are_one_a_channel_of_each_projection(biased):
    model, plain = bare(), bare()
    methods.create("adaptformer", width=8, bias=biased).attach(model)
    added = sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in plain.parameters())
    assert added == 3 * (2 * DIM * 8 + biased * (8 + DIM))


def test_adapter_plus_s_stands_behind_the_block_with_a_scale_a_channel():
    block, plain, x = adapted("adapter_plus").blocks[1], bare().blocks[1], tokens()
    y = plain(x)
    behind = block.adapter
    close(block(x), y + behind.scale * bottleneck(behind.adapter, gelu, y))


def test_adapter_plus_starts_with_small_weights_and_a_scale_of_one():
    model = bare()
    methods.create("adapter_plus", width=64).attach(model)
    added = model.blocks[0].adapter
    for layer in (added.adapter.down, added.adapter.up):
        assert 0.008 < layer.weight.std() < 0.01
        assert layer.weight.abs().max() <= 0.02
        assert not layer.bias.any()
    assert (added.scale == 1).all()


def test_vpt_s_adapter_learns_in_its_upper_biases_alone():
    method, model = methods.create("adapter_vpt2022"), bare()
    method.attach(model)
    small_models.train_briefly(method, model)
    added = {n: p for n, p in model.named_parameters() if ".adapter." in n}
    moved = {n for n, p in added.items() if p.any()}
    assert moved == {f"blocks.{i}.mlp.adapter.up.bias" for i in range(3)}


# LoRA


def test_lora_adds_one_product_to_the_fused_projection():
    layer, x = adapted("lora", rank=4, alpha=2.0).blocks[1].attn.qkv, tokens()
    a, b = layer.update.a, layer.update.b
    want = F.linear(x, layer.linear.weight + 2 / 4 * b @ a, layer.linear.bias)
    assert (a.shape, b.shape) == ((4, DIM), (3 * DIM, 4))
    close(layer(x), want)


def test_lora_on_queries_and_values_leaves_the_keys():
    layer, x = adapted("lora_qv").blocks[1].attn.qkv, tokens()
    q, k, v = (layer(x) - layer.linear(x)).split(DIM, dim=-1)
    close(q, x @ (layer.update.query.b @ layer.update.query.a).T)
    assert not k.any()
    close(v, x @ (layer.update.value.b @ layer.update.value.a).T)


def test_noah_s_lora_drops_parts_of_the_input_in_training():
    model = adapted("lora_noah")
    layer, x = model.train().blocks[1].attn.qkv, torch.ones(1, 1, DIM)
    torch.manual_seed(0)
    kept = F.dropout(x, 0.1)
    torch.manual_seed(0)
    close(layer(x), layer.linear(x) + kept @ (layer.update.b @ layer.update.a).T)


# SSF


def test_ssf_scales_and_shifts_every_channel():
    model, plain = adapted("ssf"), bare()
    for name, x, channel in (
        ("patch_embed.proj", images(), 1),
        ("blocks.1.norm1", tokens(), -1),
        ("blocks.1.attn.qkv", tokens(), -1),
        ("blocks.1.mlp.fc1", tokens(), -1),
        ("norm", tokens(), -1),
    ):
        layer, y = model.get_submodule(name), plain.get_submodule(name)(x)
        for i, (g, b) in enumerate(zip(layer.scale, layer.shift, strict=True)):
            close(layer(x).select(channel, i), y.select(channel, i) * g + b)


@pytest.mark.parametrize(("pooling", "last"), [("token", "norm"), ("avg", "fc_norm")])
def test_ssf_stands_in_its_places_whatever_the_pooling(pooling, last):
    model = adapted("ssf", bare(pooling))
    found = {name for name, module in model.named_modules() if hasattr(module, "shift")}
    block = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    inner = {f"blocks.{i}.{name}" for i in range(3) for name in block}
    assert found == {"patch_embed.proj", last, *inner}


# SNF


def flow(module, z):
    """Token by token."""
    out = z.clone()
    for b, n in torch.cartesian_prod(torch.arange(len(z)), torch.arange(z.shape[1])).tolist():
        token = module.mu + module.log_sigma.exp() * z[b, n]
        for layer in module.planar:
            inner = sum(w * t for w, t in zip(layer.w.tolist(), token.tolist(), strict=True))
            token = token + layer.u * math.tanh(inner + layer.b.item())
        out[b, n] = token
    return out


@pytest.mark.parametrize("length", [0, 1, 3])
def test_snf_lets_the_shortcuts_flow(length):
    block = adapted("snf", flow_length=length).blocks[1]
    plain, x = bare().blocks[1], tokens(5)
    y = flow(block.attn_flow, x) + plain.attn(plain.norm1(x))
    close(block(x), flow(block.mlp_flow, y) + plain.mlp(plain.norm2(y)))


@pytest.mark.parametrize(("length", "count"), [(0, 36_864), (1, 73_752), (16, 627_072)])
def test_snf_has_1536_and_1537_a_planar_layer_twice_a_block(length, count):
    with torch.device("meta"):
        model = timm.create_model("vit_base_patch16_224", num_classes=0).requires_grad_(False)
        methods.create("snf", flow_length=length).attach(model)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == count


# FacT


def sigma(middle, core, rank, row, column):
    """The middle factor of one tile; for Tucker by the sum that defines it."""
    if core is None:
        return middle.sigma[row * rank : (row + 1) * rank, column * rank : (column + 1) * rank]
    found = torch.zeros(rank, rank)
    for a, b, k in torch.cartesian_prod(*[torch.arange(rank)] * 3).tolist():
        found[a, b] += core[a, b, k] * middle.mixtures[row, column, k]
    return found


@pytest.mark.parametrize("layer", ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"])
@pytest.mark.parametrize("form", ["tensor_train", "tucker"])
def test_fact_adds_v_sigma_u_to_every_tile(form, layer):
    model = adapted("fact_tk", rank=4, scale=0.5, form=form)
    found, shared = model.blocks[1].get_submodule(layer), model.blocks[0].attn.qkv.factors
    weight = found.linear.weight.clone()
    for row in range(weight.shape[0] // DIM):
        for column in range(weight.shape[1] // DIM):
            tile = weight[row * DIM : (row + 1) * DIM, column * DIM : (column + 1) * DIM]
            tile += 0.5 * shared.v @ sigma(found.middle, shared.core, 4, row, column) @ shared.u
    x = torch.randn(2, 5, weight.shape[1])
    close(found(x), F.linear(x, weight, found.linear.bias), 1e-11)


@pytest.mark.parametrize("name", ["fact_tt", "fact_tk"])
def test_fact_s_shared_factors_are_stored_once_and_followed_by_copies(name):
    model = adapted(name)
    twin = copy.deepcopy(model)
    assert sum(key.endswith("factors.u") for key in twin.state_dict()) == 1
    twin.blocks[0].attn.qkv.factors.v.data.zero_()
    close(twin(images()), bare()(images()))
    assert (model(images()) - twin(images())).abs().max() > 1e-3


# Convpass


def bypass(module, x, prefix, side):
    """Pixel by pixel over the map; a prefix token is a map of one pixel."""
    act = torch.vmap(lambda v: v * torch.sigmoid(1.702 * v))
    low = act(x @ module.down.weight.T + module.down.bias)
    kernel, out = module.conv.weight, torch.empty_like(low)
    for n in range(x.shape[1]):
        alone, (row, column) = n < prefix, divmod(n - prefix, side)
        total = module.conv.bias + torch.zeros_like(low[:, n])
        for i, j in torch.cartesian_prod(torch.arange(-1, 2), torch.arange(-1, 2)).tolist():
            inside = 0 <= row + i < side and 0 <= column + j < side
            if (i or j) if alone else not inside:
                continue
            near = n if alone else prefix + (row + i) * side + column + j
            total = total + low[:, near] @ kernel[:, :, i + 1, j + 1].T
        out[:, n] = total
    return act(out) @ module.up.weight.T + module.up.bias


@pytest.mark.parametrize("registers", [0, 2])
def test_convpass_convolves_the_map_of_patches_and_each_prefix_token_alone(registers):
    model = adapted("convpass", bare(reg_tokens=registers), scale=0.5)
    prefix = model.num_prefix_tokens
    plain, x = bare(reg_tokens=registers).blocks[1], tokens(prefix + PATCHES**2)
    block = model.blocks[1]
    h = plain.norm1(x)
    y = x + plain.attn(h) + 0.5 * bypass(block.attn.bypass, h, prefix, PATCHES)
    h = plain.norm2(y)
    want = y + plain.mlp(h) + 0.5 * bypass(block.mlp.bypass, h, prefix, PATCHES)
    close(block(x), want)


def test_convpass_serves_a_map_that_is_not_square():
    model = adapted("convpass", bare(img_size=(64, 32)))
    assert model(images()[..., :32]).isfinite().all()


# RepAdapter


def test_repadapter_s_upper_matrix_works_group_by_group():
    layer, x = adapted("repadapter", groups=4, scale=0.5).blocks[1].mlp.fc1, tokens()
    low, update = layer.down(x), []
    for group in range(4):
        update.append(low[..., 2 * group : 2 * group + 2] @ layer.up[group].T)
    want = layer.linear(x + 0.5 * (torch.cat(update, -1) + layer.bias))
    close(layer(x), want)


# LayerNorms and DiffFit


@pytest.mark.parametrize("pooling", ["token", "avg"])
def test_the_layer_norms_and_nothing_else_learn(pooling):
    model = bare(pooling, qk_norm=True, pre_norm=True)
    methods.create("ln").attach(model)
    norms = [m for m in model.modules() if isinstance(m, nn.LayerNorm)]
    assert len(norms) == 2 + 3 * 4
    owned = {id(p) for m in norms for p in m.parameters()}
    assert owned == {id(p) for p in model.parameters() if p.requires_grad}


def test_difffit_scales_what_attention_and_mlp_give():
    model = bare()
    methods.create("difffit").attach(model)
    block, plain, x = model.blocks[1], bare().blocks[1], tokens()
    one, two = block.attn.proj.gamma, block.mlp.fc2.gamma
    with torch.no_grad():
        one.normal_()
        two.normal_()
    y = x + one * plain.attn(plain.norm1(x))
    close(block(x), y + two * plain.mlp(plain.norm2(y)))


def test_difffit_s_biases_norms_and_scales_and_nothing_else_learn():
    model = bare()
    methods.create("difffit").attach(model)
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    for name, _ in model.named_parameters():
        known = name.endswith((".bias", ".gamma")) or "norm" in name
        assert (name in learning) == known, name
