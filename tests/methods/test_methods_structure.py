"""Structure of methods that add queries, gates, pairs, heads or side networks."""

import copy

import pytest
import torch
import torch.nn.functional as F
from timm.models import VisionTransformer

import methods
from bench.models import method_checks, small_models
from methods import Unsupported
from methods.e2vpt import mask_importance, mask_lowest, prune
from methods.gatevpt import GatedBlock
from methods.mp import MomentHead
from methods.peft_library import UNSUPPORTED_TUNERS, PeftLibrary
from methods.shared.attention import attend, keys_and_values
from methods.shared.merge import merge_adapters
from methods.shared.prompts import prompts_of
from methods.shared.tensor_slot import TensorSlot
from support.double_vits import adapted, bare

pytestmark = pytest.mark.usefixtures("double_precision")


def images(size=small_models.PIXELS):
    seeded = torch.Generator().manual_seed(2)
    return torch.randn(3, 3, size, size, generator=seeded, dtype=torch.float64)


def same(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def trainable(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


# Partial tuning and the MLP head


@pytest.mark.parametrize(("pooling", "norm"), [("token", "norm"), ("avg", "fc_norm")])
def test_partial1_unfreezes_the_last_block_and_the_final_norm(pooling, norm):
    found = trainable(adapted("partial1", bare(pooling)))
    assert {name.rsplit(".", 1)[0] for name in found if not name.startswith("blocks.2.")} == {
        norm,
        "head",
    }
    assert len(found) == 12 + 2 + 2


def test_mlp3_is_twice_linear_relu_norm_dropout_then_the_head():
    model = adapted("mlp3", bare())
    *layers, _ = model.head_drop
    assert len(layers) == 2
    for linear, relu, norm, dropout in layers:
        assert linear.weight.shape == (64, 64)
        assert linear.weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.1)
        assert isinstance(relu, torch.nn.ReLU)
        assert isinstance(norm, torch.nn.BatchNorm1d)
        assert dropout.p == 0.1
    assert isinstance(model.get_classifier(), torch.nn.Linear)


def test_mlp3_learns_from_a_batch_of_one():
    model = adapted("mlp3", bare()).train()
    assert model(images()[:1]).isfinite().all()


# Side-tuning


def test_sidetune_all_on_the_frozen_side_is_the_backbone():
    model, plain = adapted("sidetune", bare()), bare()
    with torch.no_grad():
        model.head_drop.alpha.fill_(torch.inf)
        same(model(images()), plain(images()))


def test_sidetune_starts_half_way_between_the_two():
    model, plain = adapted("sidetune", bare()), bare()
    with torch.no_grad():
        beside, seen = model.head_drop, images()
        side = beside.project(F.adaptive_avg_pool2d(beside.side(seen), 6).flatten(1))
        feature = plain.forward_head(plain.forward_features(seen), pre_logits=True)
        same(model(seen), plain.head((feature + side) / 2))


def test_sidetune_serves_images_that_alexnet_could_not():
    model = adapted("sidetune", VisionTransformer(32, 8, embed_dim=64, depth=1, num_heads=4))
    assert model(images(32)).isfinite().all()


def test_sidetune_without_the_pretrained_weights_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(Unsupported, match=r"put https://.*alexnet.* at .*checkpoints"):
        adapted("sidetune", bare(), weights="imagenet")


def test_sidetune_takes_torchvisions_file(tmp_path, monkeypatch):
    from torchvision.models import alexnet

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    saved = alexnet().state_dict()
    (tmp_path / "checkpoints").mkdir()
    torch.save(saved, tmp_path / "checkpoints" / "alexnet-owt-7be5be79.pth")
    model = adapted("sidetune", bare(), weights="imagenet")
    same(model.head_drop.side[0].weight.detach(), saved["features.0.weight"])


# Moment probing


@pytest.mark.parametrize("pooling", ["token", "avg"])
def test_moments_are_those_of_a_plain_loop(pooling):
    model = adapted("mp", bare(pooling))
    branch = model.fc_norm
    assert isinstance(branch, MomentHead)
    torch.nn.init.normal_(branch.head_norm.bias)  # else there is no mean to take off
    final = bare(pooling).fc_norm if pooling == "avg" else bare(pooling).norm
    with torch.no_grad():
        tokens = bare(pooling).forward_intermediates(images(), intermediates_only=True)[-1]
        tokens = final(tokens.flatten(2).transpose(1, 2))  # (3, 64, 64)
        for tokens_of_one, found in zip(tokens, branch.cross_covariances(tokens), strict=True):
            heads = branch.head_norm(branch.project(tokens_of_one).reshape(64, 4, 128))
            for i in range(3):
                left = heads[:, i] - heads[:, i].mean()
                right = heads[:, i + 1] - heads[:, i + 1].mean()
                crossed = sum(torch.outer(a, b) for a, b in zip(left, right, strict=True)) / 64
                same(found[i], crossed / crossed.norm(dim=0, keepdim=True))


@pytest.mark.parametrize("pooling", ["token", "avg"])
def test_moment_probing_averages_two_classifiers(pooling):
    model, plain = adapted("mp", bare(pooling)), bare(pooling)
    branch = model.fc_norm
    with torch.no_grad():
        tokens = plain.forward_features(images())[:, 1:]
        tokens = plain.fc_norm(tokens)
        second = branch.classifier(branch.shrink(branch.cross_covariances(tokens)).flatten(1))
        same(model(images()), (plain(images()) + second) / 2)


def test_recalibration_without_weights_leaves_the_tokens():
    model, plain = adapted("mp_plus", bare()), bare()
    with torch.no_grad():
        for block in model.blocks:
            block.scale.weight.zero_()
            block.shift.weight.zero_()
        same(model.forward_features(images()), plain.forward_features(images()))


# Visual query tuning


@pytest.mark.parametrize("pooling", ["token", "avg"])
def test_queries_leave_the_backbone_s_own_features(pooling):
    model, plain = adapted("vqt", bare(pooling), queries=2), bare(pooling)
    with torch.no_grad():
        same(model.forward_features(images()), plain.forward_features(images()))
        joined = model.forward_head(model.forward_features(images()), pre_logits=True)
        alone = plain.forward_head(plain.forward_features(images()), pre_logits=True)
    assert joined.shape == (3, 64 * (1 + 3 * 2))
    same(joined[:, :64], F.normalize(alone, dim=1))


def test_a_query_asks_the_tokens_and_neither_itself_nor_other_queries():
    model, plain = adapted("vqt", bare(), queries=2), bare()
    asked, block = model.blocks[0], plain.blocks[0]
    x = torch.randn(3, 5, 64)
    with torch.no_grad():
        asked(x)
        answers = asked.answers.pop()
        for i, query in enumerate(asked.queries):
            seen = block.norm1(torch.cat([query.expand(3, 1, -1), x], 1))
            q, k, v = block.attn.qkv(seen).unflatten(2, (3, 4, 16)).permute(2, 0, 3, 1, 4)
            shares = (q[:, :, :1] @ k[:, :, 1:].transpose(2, 3) / 4).softmax(-1)
            mixed = (shares @ v[:, :, 1:]).transpose(1, 2).flatten(2)
            y = query + block.attn.proj(mixed)
            same(answers[:, i : i + 1], y + block.mlp(block.norm2(y)))


def test_no_gradient_of_a_query_passes_through_the_tokens():
    model = adapted("vqt", bare())
    assert not model.forward_features(images()).requires_grad


def test_the_wider_head_keeps_its_start_and_its_spread():
    model, plain = adapted("vqt", bare(), queries=8), bare()
    weight = model.head.weight.detach()
    same(weight[:, :64], plain.head.weight.detach())
    assert weight[:, 64:].std().item() == pytest.approx(plain.head.weight.std().item(), rel=0.05)


@pytest.mark.parametrize(
    ("gathered", "gather"),
    [
        ("mean", lambda answers, block: answers.mean(1)),
        ("weighted_sum", lambda answers, block: 0 * answers[:, 0] + (block + 2.0) * answers[:, 1]),
    ],
)
def test_the_head_sees_the_mean_or_the_weighted_sum_of_each_block_s_answers(gathered, gather):
    model = adapted("vqt", bare(), queries=2, gathered=gathered)
    with torch.no_grad():
        if gathered == "weighted_sum":
            model.head_drop.weights.copy_(torch.tensor([[0.0, 2.0], [0.0, 3.0], [0.0, 4.0]]))
        tokens = model.forward_features(images())
        answers = [block.answers.pop() for block in model.blocks]
        for block, given in zip(model.blocks, answers, strict=True):
            block.answers.put(given)
        joined = model.forward_head(tokens, pre_logits=True)
    assert joined.shape == (3, 64 * (1 + 3))
    for block, given in enumerate(answers):
        wanted = F.normalize(gather(given, block), dim=1)
        same(joined[:, 64 * (1 + block) : 64 * (2 + block)], wanted)


@pytest.mark.parametrize(
    ("gathered", "each", "weights"),
    [("concatenated", 8, 0), ("mean", 1, 0), ("weighted_sum", 1, 3 * 8)],
)
def test_what_is_gathered_decides_how_far_the_head_of_vqt_grows(gathered, each, weights):
    model, plain = bare(), bare()
    methods.create("vqt", queries=8, gathered=gathered).attach(model)
    learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    head = sum(p.numel() for p in plain.head.parameters())
    grown = 64 * 3 * each * plain.num_classes
    assert learning == head + 3 * 8 * 64 + weights + grown


@pytest.mark.sample(1)
@pytest.mark.parametrize("gathered", ["mean", "weighted_sum"])
def test_gathered_answers_keep_the_contract(gathered):
    torch.set_default_dtype(torch.float32)  # the contract makes its own double precision
    found = method_checks.run_checks(methods.create("vqt", queries=3, gathered=gathered))
    assert [problem for _, problem in found if problem] == []


# Gated prompts


def gated(model):
    return [module for module in model.modules() if isinstance(module, GatedBlock)]


@pytest.mark.parametrize("pooling", ["token", "avg"])
def test_closed_gates_give_every_block_the_same_prompts(pooling):
    model = adapted("gatevpt", bare(pooling), prompts=5, gate=-torch.inf)
    deep = adapted("vpt_deep", bare(pooling), prompts=5)
    with torch.no_grad():
        for prompts in prompts_of(deep):
            prompts.copy_(prompts_of(model)[0])
        same(model(images()), deep(images()))


@pytest.mark.parametrize("pool_prompts", [False, True])
def test_open_gates_give_shallow_prompts(pool_prompts):
    fields = {"prompts": 5, "pool_prompts": pool_prompts}
    model = adapted("gatevpt", bare("avg"), gate=torch.inf, **fields)
    shallow = adapted("vpt_shallow", bare("avg"), **fields)
    with torch.no_grad():
        prompts_of(shallow)[0].copy_(prompts_of(model)[0])
        same(model(images()), shallow(images()))


def test_every_block_but_the_last_has_a_gate_and_each_a_temperature():
    model = adapted("gatevpt", bare())
    assert [module.gate.item() for module in gated(model)] == [-5.0, -5.0]
    assert sum("temperature" in name for name in trainable(model)) == 3


def test_a_temperature_divides_the_attention_s_logits():
    model, plain = adapted("gatevpt", bare(), prompts=1), bare()
    attn, x = model.blocks[1].block.attn, torch.randn(3, 5, 64)
    plain.blocks[1].attn.scale /= 2
    plain.blocks[1].attn.fused_attn = False
    with torch.no_grad():
        attn.q_norm.temperature.fill_(2.0)
        same(attn(x), plain.blocks[1].attn(x))


@pytest.mark.parametrize(("given", "counts_as"), [(-1.0, 0.01), (0.5, 0.5), (30.0, 10.0)])
def test_a_temperature_beyond_its_bounds_counts_as_the_bound_and_still_learns(given, counts_as):
    tempered = adapted("gatevpt", bare(), prompts=1).blocks[1].block.attn.q_norm
    q = torch.randn(2, 4, 5, 16)
    with torch.no_grad():
        tempered.temperature.fill_(given)
    out = tempered(q)
    out.sum().backward()
    torch.testing.assert_close(out.detach(), q / counts_as)
    torch.testing.assert_close(tempered.temperature.grad, -q.sum() / counts_as**2)


# E2VPT


def test_pairs_that_are_projected_prompts_are_prompts():
    attn, x, prompts = bare().blocks[0].attn, torch.randn(3, 5, 64), torch.randn(4, 64)
    with torch.no_grad():
        joined = attn(torch.cat([prompts.expand(3, -1, -1), x], 1))[:, 4:]
        same(attend(attn, x, keys_and_values(attn, prompts)), joined)


@pytest.mark.parametrize("pooling", ["token", "avg"])
def test_e2vpt_scores_and_learns_alike_in_both_forms(pooling):
    results = []
    for form in ("keys_and_values", "concatenation"):
        model = adapted("e2vpt", bare(pooling), form=form)
        scores = model(images())
        scores.logsumexp(1).sum().backward()
        results.append([scores.detach(), *(block.pairs.grad for block in model.blocks)])
        results[-1] += [block.prompts.grad for block in model.blocks]
    for one, other in zip(*results, strict=True):
        same(one, other)


def test_a_pair_is_one_key_and_one_value_more():
    model = adapted("e2vpt", bare(), prompts=1, pairs=2)
    block, x = model.blocks[0], torch.randn(3, 5, 64)
    attn, pairs = block.block.attn, block.pairs
    with torch.no_grad():
        found = attend(attn, x, (pairs, pairs))
        q, k, v = attn.qkv(x).unflatten(2, (3, 4, 16)).permute(2, 0, 3, 1, 4)
        k, v = (torch.cat([part, pairs.expand(3, -1, -1, -1)], 2) for part in (k, v))
        mixed = (q @ k.transpose(2, 3) / 4).softmax(-1) @ v
        same(found, attn.proj(mixed.transpose(1, 2).flatten(2)))


def test_masks_of_one_leave_the_prompts_and_a_zero_takes_out_its_share():
    block = adapted("e2vpt", bare(), prompts=3).blocks[0]
    with torch.no_grad():
        assert torch.equal(block.seen(), block.prompts)
        block.tokens[0] = 0
        block.pieces[1, 5] = 0
        masked = (block.seen() == 0).nonzero().tolist()
    assert masked == [[0, i] for i in range(64)] + [[1, i] for i in (5, 21, 37, 53)]


def test_the_lowest_are_masked_and_the_least_number_stays():
    scores = torch.tensor([[3.0, 1.0, 2.0, 5.0, 4.0], [0.0, 9.0, 8.0, 7.0, 6.0]])
    assert mask_lowest(scores, 0.4, 1).tolist() == [[1, 0, 0, 1, 1], [0, 1, 1, 1, 0]]
    assert mask_lowest(scores, 0.9, 3).tolist() == [[1, 0, 0, 1, 1], [0, 1, 1, 1, 0]]
    assert mask_lowest(scores, 0.0, 1).tolist() == [[1] * 5] * 2


@pytest.mark.parametrize("form", ["keys_and_values", "concatenation"])
def test_signed_importance_is_the_change_of_the_loss(form):
    model = adapted("e2vpt", bare(), prompts=6, form=form)
    [batch] = small_models.FakeBatches(torch.float64, count=1)
    tokens, pieces = mask_importance(model, [batch], by="signed")

    def loss():
        with torch.no_grad():
            return F.cross_entropy(model(batch[0]), batch[1])

    for score, mask in ((tokens[2], "tokens"), (pieces[2, 7], "pieces")):
        at = (2,) if mask == "tokens" else (2, 7)
        ends = []
        for step in (1e-5, -1e-5):
            for block in model.blocks:
                getattr(block, mask)[at] = 1 + step
            ends.append(loss())
        for block in model.blocks:
            getattr(block, mask)[at] = 1
        slope = (ends[0] - ends[1]).item() / 2e-5
        assert slope == pytest.approx(score.item(), rel=1e-4, abs=1e-10)


def test_absolute_importance_is_the_mean_size_of_the_signed():
    batches, model = list(small_models.FakeBatches(torch.float64)), adapted("e2vpt", bare())
    single = torch.stack([mask_importance(model, [batch], by="signed")[1] for batch in batches])
    same(mask_importance(model, batches)[1], single.abs().mean(0))
    same(mask_importance(model, batches, by="signed")[1], single.mean(0))


def test_pruning_masks_the_least_important_and_rewinds():
    model = adapted("e2vpt", bare(), prompts=6)
    start = copy.deepcopy(model)
    small_models.train_briefly(methods.create("e2vpt"), model)
    tokens, pieces = mask_importance(model, small_models.FakeBatches(torch.float64))
    prune(model, small_models.FakeBatches(torch.float64), token_share=0.5, piece_share=0.9)
    for block, first in zip(model.blocks, start.blocks, strict=True):
        assert block.tokens.tolist() == (tokens > tokens.sort().values[2]).tolist()
        fourth = pieces.sort(descending=True).values[:, 3:4]
        assert block.pieces.tolist() == (pieces >= fourth).tolist()
        assert torch.equal(block.prompts, first.prompts)
        assert torch.equal(block.pairs, first.pairs)
    assert not any(p.requires_grad for p in model.buffers())
    assert torch.isfinite(model(images())).all()


def test_pruned_e2vpt_starts_where_e2vpt_does_less_what_its_search_masked():
    batches, plain, model = (
        small_models.FakeBatches(torch.float64),
        adapted("e2vpt", bare()),
        bare(),
    )
    torch.manual_seed(1)
    methods.create("e2vpt_pruned", token_share=0.3, piece_share=0.5).prepare(model, batches)
    for block, first in zip(model.blocks, plain.blocks, strict=True):
        assert torch.equal(block.prompts, first.prompts)
        assert block.tokens.sum() == 7
        assert block.pieces.sum(1).tolist() == [8.0] * 10
    assert torch.equal(model.head.weight, plain.head.weight)
    assert all(p.grad is None for p in model.parameters())


def test_the_search_decides_what_is_masked():
    masks = []
    for importance_of in ("absolute", "signed"):
        model = bare()
        torch.manual_seed(0)
        method = methods.create("e2vpt_pruned", importance=importance_of)
        method.prepare(model, small_models.FakeBatches(torch.float64))
        masks.append(model.blocks[0].pieces)
    assert not torch.equal(*masks)


@pytest.mark.parametrize(
    ("field", "value"), [("token_share", 1.5), ("importance", "size"), ("search_epochs", 0)]
)
def test_pruned_e2vpt_names_a_field_out_of_range(field, value):
    with pytest.raises(ValueError, match=field.split("_")[0]):
        methods.create("e2vpt_pruned", **{field: value})


# peft


def test_peft_leaves_the_patch_embedding_alone_and_frees_the_head():
    for name in ("peft_dora", "peft_ia3", "peft_oft"):
        model = adapted(name, bare())
        assert isinstance(model.patch_embed.proj, torch.nn.Conv2d)
        assert {"head.weight", "head.bias"} < trainable(model)


def test_peft_s_lora_is_ours():
    theirs, ours = bare(), adapted("lora", bare())
    PeftLibrary("LoraConfig", {"r": 8}, targets=r"blocks\.\d+\.attn\.qkv").attach(theirs)
    with torch.no_grad():
        for block, other in zip(ours.blocks, theirs.blocks, strict=True):
            update = block.attn.qkv.update
            torch.nn.init.normal_(update.b)
            other.attn.qkv.lora_A["default"].weight.copy_(update.a)
            other.attn.qkv.lora_B["default"].weight.copy_(update.b)
        same(theirs.eval()(images()), ours(images()))


def test_adalora_ends_with_the_ranks_that_it_may_keep():
    options = {"init_r": 6, "target_r": 2, "tinit": 0, "tfinal": 1, "total_step": 4}
    method, model = methods.create("peft_adalora", options=options), bare()
    method.attach(model)
    small_models.train_briefly(method, model, steps=4)
    kept = sum((p != 0).sum() for name, p in model.named_parameters() if "lora_E" in name)
    assert kept == 2 * 12


@pytest.mark.parametrize("width", [64, 96, 128, 192])
@pytest.mark.parametrize("name", ["peft_vblora", "peft_c3a", "peft_oft", "peft_road"])
def test_what_must_divide_the_width_does(name, width):
    model = VisionTransformer(32, 8, embed_dim=width, depth=1, num_heads=4, num_classes=5)
    assert adapted(name, model)(images(32)).shape == (3, 5)


def test_fourierft_folds_although_it_is_wrapped():
    model = adapted("peft_fourierft", bare().float())
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "spectrum" in name:
                torch.nn.init.normal_(p)
        scores = model(images().float())
        merge_adapters(model)
        torch.testing.assert_close(model(images().float()), scores)
    assert type(model.blocks[0].attn.qkv) is torch.nn.Linear


def test_frozen_noise_of_peft_stays_out_of_the_checkpoint():
    for name in ("peft_vera", "peft_randlora", "peft_pvera", "peft_tinylora"):
        model = adapted(name, bare())
        own = sum(v.numel() for k, v in model.state_dict().items() if k not in bare().state_dict())
        backbone = sum(p.numel() for p in bare().parameters())
        assert own < 2 * backbone, name


def test_a_backbone_without_such_modules_is_unsupported():
    with pytest.raises(Unsupported, match="no module with weights is called nowhere"):
        PeftLibrary("LoraConfig", targets="nowhere").attach(bare())


def test_what_is_refused_has_a_reason_and_no_name():
    assert not set(UNSUPPORTED_TUNERS) & set(methods.names())
    assert all(UNSUPPORTED_TUNERS.values())


# Handing over


def test_a_copy_of_a_handover_is_empty_and_still_shared():
    handover = TensorSlot()
    handover.put(torch.ones(1, requires_grad=True) * 2)
    one, other = copy.deepcopy((handover, handover))
    assert one is other
    with pytest.raises(RuntimeError, match="before its head"):
        one.pop()
    assert handover.pop() == 2


def test_only_the_upper_biases_of_the_released_adapter_learn():
    model = small_models.prepare_copy(
        methods.create("adapter_vpt2022"), small_models.small_backbone()
    )
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    small_models.train_briefly(methods.create("adapter_vpt2022"), model)
    moved = [n for n, p in model.named_parameters() if not torch.equal(p, before[n])]
    assert len([n for n in moved if not n.startswith("head")]) == 3  # one a block
    assert all(n.endswith("bias") for n in moved if not n.startswith("head"))
