"""Properties of prompts, and of self-prompts in particular."""

import copy

import pytest
import torch

import methods
from bench.models import method_checks, small_models
from methods.shared.patch_tokens import block_inputs
from methods.shared.prompt_initialisation import STRATEGIES, bootstrap_fn
from methods.shared.prompts import prompts_of
from methods.shared.structure import embed_images
from support.double_vits import bare, images

pytestmark = pytest.mark.usefixtures("double_precision")


def patch_tokens(model):
    """The tokens at the input of each block and after the last, by timm's own reading."""
    after = model.forward_intermediates(images(), output_fmt="NLC", intermediates_only=True)
    return [embed_images(model, images())[:, 1:], *after]


@pytest.mark.parametrize("pooling", ["token", "avg"])
def test_keys_and_values_score_and_learn_as_the_concatenation_does(pooling):
    scores, gradients = [], []
    for form in ("keys_and_values", "concatenation"):
        torch.manual_seed(1)
        model = bare(pooling)
        methods.create("vpt_deep", form=form).attach(model)
        out = model(images())
        out.logsumexp(1).sum().backward()
        scores.append(out.detach())
        gradients.append(torch.stack([p.grad for p in prompts_of(model)]))
    torch.testing.assert_close(scores[0], scores[1], rtol=0, atol=1e-12)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["vpt_deep", "vpt_shallow"])
def test_projected_prompts_are_the_prompts_that_the_projection_makes(name):
    scores = []
    narrow, wide = bare("avg"), bare("avg")
    methods.create(name, projection=8, prompts=5).attach(narrow)
    methods.create(name, prompts=5).attach(wide)
    with torch.no_grad():
        for prompts, start in zip(prompts_of(wide), prompts_of(narrow), strict=True):
            prompts.copy_(narrow.blocks[0].project(start))
        scores = [model(images()) for model in (narrow, wide)]
    torch.testing.assert_close(*scores, rtol=0, atol=1e-12)


def test_all_blocks_share_one_projection_which_learns_unless_the_prompts_are_frozen():
    added = {}
    for frozen in (False, True):
        model = bare()
        methods.create("vpt_deep", projection=8, prompts=5, frozen=frozen).attach(model)
        head = sum(p.numel() for p in model.head.parameters())
        added[frozen] = sum(p.numel() for p in model.parameters() if p.requires_grad) - head
    assert added == {False: 3 * 5 * 8 + 8 * 64 + 64, True: 0}


@pytest.mark.sample(1)
@pytest.mark.parametrize("form", ["keys_and_values", "concatenation"])
def test_projected_prompts_keep_the_contract(form):
    torch.set_default_dtype(torch.float32)  # the contract makes its own double precision
    found = method_checks.run_checks(methods.create("vpt_deep", projection=8, form=form))
    assert [problem for _, problem in found if problem] == []


def test_query_norms_and_layer_scales_are_kept_in_both_forms():
    import timm

    scores = []
    for form in ("keys_and_values", "concatenation"):
        torch.manual_seed(1)
        model = timm.create_model(
            "vit_tiny_patch16_224",
            img_size=64,
            embed_dim=64,
            depth=2,
            num_heads=4,
            qk_norm=True,
            init_values=0.1,
        ).double()
        for p in model.parameters():
            p.data += torch.rand_like(p) * 0.1
        methods.create("vpt_deep", form=form).attach(model.eval())
        scores.append(model(images()))
    torch.testing.assert_close(scores[0], scores[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["vpt_deep", "vpt_shallow"])
def test_pooling_reads_the_prompts_only_where_it_is_told_to(name):
    scores = {}
    for pool_prompts in (False, True):
        torch.manual_seed(1)
        model = bare("avg")
        methods.create(name, pool_prompts=pool_prompts, prompts=30).attach(model)
        scores[pool_prompts] = model(images())
    assert (scores[True] - scores[False]).abs().max() > 1e-3


def test_deep_prompts_lengthen_the_sequence_inside_each_block_alone():
    model, seen = bare(), []
    methods.create("vpt_deep", form="concatenation").attach(model)
    for block in model.blocks:
        block.block.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
        block.register_forward_hook(lambda *args: seen.append(args[2].shape[1]))
    model(images())
    assert seen == [1 + 20 + 64, 1 + 64] * len(model.blocks)


def test_deep_prompts_under_class_token_pooling_do_not_depend_on_their_scale():
    """They are read through LayerNorm only: the size of the start is not what is compared."""
    torch.manual_seed(1)
    model = bare()
    methods.create("vpt_deep").attach(model)
    before = model(images())
    with torch.no_grad():
        for prompts in prompts_of(model):
            prompts *= 1000
    torch.testing.assert_close(model(images()), before, rtol=0, atol=1e-2)


def test_dropout_acts_in_training_alone():
    model = bare()
    methods.create("vpt_deep", dropout=0.5).attach(model)
    model.eval()
    assert torch.equal(model(images()), model(images()))
    model.train()
    assert not torch.equal(model(images()), model(images()))


def test_vpt_starts_within_its_bound():
    model = bare()
    methods.create("vpt_deep").attach(model)
    bound = (6 / (3 * 8 * 8 + 64)) ** 0.5
    largest = torch.stack(prompts_of(model)).abs().max().item()
    assert 0.95 * bound < largest <= bound


def test_block_inputs_are_the_bare_backbone_s_patch_tokens():
    model = bare()
    parts = images().split(3)
    layers = block_inputs(model, iter(parts), count=len(parts), last=3)
    found = [tokens.clone() for _, tokens in layers]  # each layer's are written over the last's
    for got, want in zip(found, patch_tokens(model), strict=True):
        torch.testing.assert_close(got, want)


def test_the_released_first_layer_has_no_positions():
    model = bare()
    _, tokens = next(block_inputs(model, [images()], count=1, last=0, positions=False))
    torch.testing.assert_close(tokens, model.patch_embed(images()))


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("spt_shallow", [0]),
        ("spt_shallow_last", [3]),
        ("spt_deep", [0, 1, 2]),
        ("spt_deep_first", [0, 0, 0]),
        ("spt_deep_last", [3, 3, 3]),
    ],
)
def test_sampled_prompts_are_tokens_of_the_bare_backbone(name, layers):
    model = bare()
    tokens = patch_tokens(copy.deepcopy(model))
    methods.create(name).prepare(model, small_models.FakeBatches(torch.float64))
    for prompts, layer in zip(prompts_of(model), layers, strict=True):
        distance = torch.cdist(
            prompts.detach(),
            tokens[layer].flatten(0, 1),
            compute_mode="donot_use_mm_for_euclid_dist",
        )
        assert distance.amin(1).max() < 1e-10


@pytest.mark.parametrize("name", ["spt_deep_first", "spt_deep_last"])
def test_one_level_s_prompts_are_the_same_everywhere(name):
    model = bare()
    methods.create(name).prepare(model, small_models.FakeBatches(torch.float64))
    first, *others = prompts_of(model)
    assert all(torch.equal(first, other) for other in others)


def test_each_layer_draws_tokens_of_its_own():
    """The same places in every layer would be one image's path through the network."""
    model = bare()
    tokens = patch_tokens(copy.deepcopy(model))
    methods.create("spt_deep").prepare(model, small_models.FakeBatches(torch.float64))
    chosen = [
        torch.cdist(prompts.detach(), tokens[i].flatten(0, 1)).argmin(1).tolist()
        for i, prompts in enumerate(prompts_of(model))
    ]
    assert chosen[0] != chosen[1] != chosen[2]


def test_frozen_prompts_start_alike_and_do_not_learn():
    free, frozen = bare(), bare()
    for name, model in (("spt_deep", free), ("spt_deep_frozen", frozen)):
        torch.manual_seed(3)
        methods.create(name).prepare(model, small_models.FakeBatches(torch.float64))
    for a, b in zip(prompts_of(free), prompts_of(frozen), strict=True):
        assert torch.equal(a, b)
        assert a.requires_grad
        assert not b.requires_grad


def test_a_share_of_the_images_is_rounded_up_to_whole_batches():
    class Counting(small_models.FakeBatches):
        given = 0

        def __iter__(self):
            for batch in super().__iter__():
                self.given += 1
                yield batch

    for share, batches in ((None, 1), (0.1, 1), (0.5, 5), (0.51, 6), (1.0, 10)):
        shown = Counting(torch.float64, count=10)
        methods.create("spt_deep", share=share).prepare(bare(), shown)
        assert shown.given == batches, share


def test_draws_are_without_replacement():
    tokens = torch.arange(40.0)[:, None].expand(40, 3)[None]
    drawn = STRATEGIES["random"](tokens, 40, "batch")
    assert drawn[:, 0].sort().values.tolist() == list(range(40))


def numbered(images, tokens=1):
    """Tokens that each hold the number of their image, (B, N, 3)."""
    return torch.arange(float(images))[:, None, None].expand(images, tokens, 3)


def test_images_are_redrawn_with_replacement_and_alike_in_every_layer():
    torch.manual_seed(0)
    seen = bootstrap_fn()
    layers = [seen(numbered(2000)), seen(numbered(2000) + 0.5)]
    torch.testing.assert_close(layers[0] + 0.5, layers[1], rtol=0, atol=0)
    distinct = len(layers[0][:, 0, 0].unique()) / 2000
    assert distinct == pytest.approx(1 - torch.e**-1, abs=0.03)  # 4.4 standard deviations
    assert not torch.equal(bootstrap_fn()(numbered(2000)), layers[0])


def test_with_replacement_a_token_may_start_two_prompts_and_without_it_none_does():
    count = 3 * 64  # as many prompts as these images have tokens
    batches = [(images()[:3], torch.zeros(3))]
    distinct = {}
    for replacement in (False, True):
        model, fields = bare(), {"prompts": count, "layers": "first", "replacement": replacement}
        torch.manual_seed(0)  # of the three images one is drawn twice, and one never
        methods.create("spt_deep", **fields).prepare(model, batches)
        distinct[replacement] = len(prompts_of(model)[0].detach().unique(dim=0))
    assert distinct == {False: count, True: 2 * 64}


def test_without_replacement_nothing_more_is_drawn_than_the_tokens():
    """Recorded numbers were drawn so: one more draw would move every number."""
    model = bare()
    tokens = patch_tokens(copy.deepcopy(model))
    torch.manual_seed(4)
    methods.create("spt_deep").prepare(model, small_models.FakeBatches(torch.float64))
    torch.manual_seed(4)
    for prompts, of_layer in zip(prompts_of(model), tokens, strict=False):
        torch.testing.assert_close(prompts.detach(), STRATEGIES["random"](of_layer, 20, "batch"))


def test_the_released_shallow_prompts_are_patches_without_positions():
    model = bare()
    patches = model.patch_embed(images()).flatten(0, 1)
    released = {"windows": "image", "positions": False, "replacement": True, "prompts": 9}
    methods.create("spt_shallow", **released).prepare(
        model, small_models.FakeBatches(torch.float64)
    )
    for prompt in prompts_of(model)[0].detach():
        assert (patches - prompt).abs().amax(1).min() < 1e-12


def test_windows_are_consecutive_tokens_of_the_whole_batch():
    tokens = torch.arange(46.0)[:, None].reshape(2, 23, 1)
    means = STRATEGIES["mean"](tokens, 4, "batch")
    largest = STRATEGIES["max"](tokens, 4, "batch")
    assert means.flatten().tolist() == [5, 16, 27, 38]
    assert largest.flatten().tolist() == [10, 21, 32, 43]


def test_the_released_windows_are_strips_of_single_images():
    tokens = torch.arange(46.0).reshape(2, 23, 1)  # 3 strips of 7 and one of 2 an image
    means = STRATEGIES["mean"](tokens, 4, "image").flatten().tolist()
    assert set(means) <= {3, 10, 17, 21.5, 26, 33, 40, 44.5}
    assert len(set(means)) == 4


def test_the_released_windows_take_the_whole_image_where_strips_leave_nothing():
    tokens = torch.arange(24.0).reshape(1, 24, 1)
    means = STRATEGIES["mean"](tokens, 4, "image").flatten().tolist()
    assert sorted(means) == [3.5, 11.5, 11.5, 19.5]


@pytest.mark.parametrize("strategy", ["mean", "max", "kmeans"])
def test_of_equal_tokens_every_strategy_gives_that_token(strategy):
    found = STRATEGIES[strategy](torch.full((2, 30, 5), 7.0), 1, "batch")
    torch.testing.assert_close(found, torch.full((1, 5), 7.0))


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_more_prompts_than_tokens_are_refused_in_a_sentence(strategy):
    with pytest.raises(ValueError, match="10 prompts need as many tokens; these images have 6"):
        STRATEGIES[strategy](torch.zeros(2, 3, 4), 10, "batch")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"prompts": 0}, "at least 1; 0 was given"),
        ({"strategy": "median"}, "no strategy 'median'; there are random, mean, max"),
        ({"layers": "middle"}, "no layers 'middle'"),
        ({"share": 1.5}, "share must lie above 0 and at most at 1; 1.5 was given"),
        ({"form": "fast"}, "no form of prompts 'fast'"),
    ],
)
def test_a_field_out_of_range_is_refused_in_a_sentence(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        methods.create("spt_deep", **fields)
