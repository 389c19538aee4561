"""Properties of SA2VP."""

import pytest
import torch
import torch.nn.functional as F

import methods
from methods.sa2vp import PairedBlock, neighbourhood
from support import double_vits
from support.double_vits import learning, noise

pytestmark = pytest.mark.usefixtures("double_precision")

LABELS = torch.tensor([0, 3])


def vit(**changed):
    return double_vits.vit(**{"depth": 6, **changed})


def adapted(model, **fields):
    return double_vits.adapted("sa2vp", model, **{"width": 6, **fields})


def paired(model):
    return [m for m in model.modules() if isinstance(m, PairedBlock)]


def test_patches_see_three_by_three_places_and_prefix_tokens_see_all():
    near = neighbourhood((3, 4), 2)
    assert near[:2].all()
    assert not near[2:, :2].any()
    inside = {(r, c): near[2 + 4 * r + c, 2:].view(3, 4) for r in range(3) for c in range(4)}
    assert inside[0, 0].nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert inside[1, 2].nonzero().tolist() == [[r, c] for r in range(3) for c in (1, 2, 3)]
    assert [int(inside[r, 3].sum()) for r in range(3)] == [4, 6, 4]


def test_without_weight_the_tokens_are_the_backbone_s():
    model, plain = adapted(vit(), weight=0.0), vit()
    torch.testing.assert_close(model(noise()), plain(noise()), rtol=0, atol=1e-12)


def test_a_token_learns_of_the_map_around_its_place_alone():
    block = paired(adapted(vit()))[1]
    x = torch.randn(2, 17, 64).requires_grad_()  # a prefix token and 4 x 4 patches; and the map
    (gradient,) = torch.autograd.grad(block(x)[0, 6].sum() + 0 * x.sum(), x)  # of patch (1, 1)
    reached = gradient[1].abs().amax(1) > 0
    rows = [1 + 4 * r + c for r in (0, 1, 2) for c in (0, 1, 2)]
    assert reached.nonzero().flatten().tolist() == rows


def test_every_fourth_block_lets_the_map_learn_from_the_tokens_and_others_the_reverse():
    model = adapted(vit())
    for i, block in enumerate(paired(model)):
        x = torch.randn(2, 17, 64).requires_grad_()
        tokens, prompts = block(x)
        (of_tokens,) = torch.autograd.grad(tokens.sum(), x, retain_graph=True)
        (of_prompts,) = torch.autograd.grad(prompts.sum(), x)
        assert bool(of_tokens[1].any()) is (i % 4 != 0)
        assert bool(of_prompts[0].any()) is (i % 4 == 0)


def test_another_map_joins_at_every_fourth_block_but_the_first():
    model = adapted(vit(depth=9))
    assert [i for i, block in enumerate(paired(model)) if block.added is not None] == [4, 8]


def test_an_added_map_is_the_block_s_output_for_it_scaled():
    block = paired(adapted(vit()))[4]
    added, x = block.added, torch.randn(2, 17, 64)
    with torch.no_grad():
        found = block(x)[1]
        own = block.block(added.map.project(added.map.low)[None])[0] * added.scale
        block.added = None
        torch.testing.assert_close(found, block(x)[1] + own)


def test_the_map_starts_at_the_position_embedding_and_its_own_values():
    model, seen = adapted(vit()), []
    paired(model)[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model(noise())
    first = model.blocks[0].map
    wanted = first.low @ first.project.weight.T + first.project.bias + model.pos_embed[0]
    torch.testing.assert_close(seen[0][2:], wanted.expand(2, -1, -1))


def test_every_block_runs_twice_as_many_images():
    model, seen = adapted(vit()), []
    for block in paired(model):
        block.block.mlp.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    model(noise())
    assert sorted(seen) == [1, 4, 4, 4, 4, 4, 4]  # one map is added once, for all images


def test_the_loss_is_shared_between_the_scores_of_tokens_and_of_the_map():
    model, method = adapted(vit()), methods.create("sa2vp", width=6, share=0.25)
    seen = []
    hook = paired(model)[-1].register_forward_hook(lambda _, given, out: seen.append(out))
    found = method.loss(model, model, noise(), LABELS)
    hook.remove()
    tokens, prompts = seen[0].chunk(2)
    alone = [
        F.cross_entropy(model.forward_head(model.norm(side)), LABELS) for side in (tokens, prompts)
    ]
    torch.testing.assert_close(found, 0.75 * alone[0] + 0.25 * alone[1])
    torch.testing.assert_close(
        method.loss(model, model, noise(), LABELS, reduction="sum"), 2 * found
    )


def test_the_map_is_kept_for_a_loss_alone():
    model, method = adapted(vit()), methods.create("sa2vp", width=6)
    method.loss(model, model, noise(), LABELS)
    model(noise())
    with pytest.raises(RuntimeError, match="nothing was handed over"):
        model.blocks[-1].map.pop()


def test_checkpointing_changes_neither_the_loss_nor_its_gradients():
    results, method = [], methods.create("sa2vp", width=6)
    for checkpointing in (False, True):
        model = adapted(vit())
        model.set_grad_checkpointing(checkpointing)
        loss = method.loss(model, model, noise(), LABELS)
        loss.backward()
        results.append([loss, *(p.grad for p in model.parameters() if p.requires_grad)])
    for plain, checkpointed in zip(*results, strict=True):
        torch.testing.assert_close(checkpointed, plain, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "changed",
    [
        {"img_size": (32, 48)},
        {"class_token": False, "global_pool": "avg"},
        {"reg_tokens": 4},
        {"reg_tokens": 4, "no_embed_class": True},
        {"pos_embed": "none"},
        {"depth": 1},
    ],
)
def test_any_grid_and_any_prefix_tokens_are_served(changed):
    model = adapted(vit(**changed))
    height, width = model.patch_embed.grid_size
    shown = noise(8 * height, 8 * width)
    method = methods.create("sa2vp")
    method.loss(model, model, shown, LABELS).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(("depth", "maps"), [(3, 1), (6, 2), (12, 3)])
def test_it_learns_as_many_parameters_as_the_formula_says(depth, maps):
    found = learning(adapted(vit(depth=depth)))
    each = 3 * 64 + 2 * 6 * 64 + 6
    assert found == 64 * (maps - 1) + maps * (17 * 6 + 6 * 64 + 64) + depth * each


@pytest.mark.parametrize(("field", "value"), [("width", 0), ("share", 1.5), ("dropout", 1.0)])
def test_a_field_out_of_range_is_refused(field, value):
    with pytest.raises(ValueError, match="was given"):
        methods.create("sa2vp", **{field: value})
