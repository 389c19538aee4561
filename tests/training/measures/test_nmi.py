"""Normalised mutual information of prompts and tokens: the formula, and a model's layers."""

import copy
import math
import random

import pytest
import torch

import methods
from bench.data.loader import BatchLoader
from bench.data.splits import Examples
from bench.data.transforms import Transform
from bench.models import small_models
from bench.training.measures import layerwise
from bench.training.measures.nmi import RunningNMI, entropy_sums
from bench.utils.errors import UserError
from methods.shared.prompts import prompts_of
from methods.shared.structure import embed_images

CPU, VIEW = torch.device("cpu"), Transform("squash", "bilinear")


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def nmi(prompts, tokens):
    """The value of each image, (B,), of prompts, (P, D), and tokens, (B, N, D)."""
    return entropy_sums(prompts, tokens).value()


def of_weights(weights):
    """The measure where sigmoid(p_k . e_j) is the given table, of prompts by tokens."""
    table = torch.tensor(weights, dtype=torch.float64)
    prompts = torch.eye(len(table), dtype=torch.float64)
    return nmi(prompts, table.logit().clamp(min=-800).T[None]).item()


def as_printed(prompts, tokens):
    """Equations 7 and 8, term by term."""
    joint = (prompts @ tokens.T).sigmoid()
    joint = joint / joint.sum()
    p, e = joint.sum(1), joint.sum(0)
    shared = (joint * (joint / (p[:, None] * e)).log()).sum()
    return (2 * shared / -((p * p.log()).sum() + (e * e.log()).sum())).item()


def test_a_table_worked_out_by_hand():
    shared = 0.8 * math.log(0.4 / 0.25) + 0.2 * math.log(0.1 / 0.25)
    assert of_weights([[0.8, 0.2], [0.2, 0.8]]) == pytest.approx(shared / math.log(2), abs=1e-12)


def test_a_table_of_unlike_sides_worked_out_by_hand():
    # the joint is (1/2, 1/4, 0) over (0, 0, 1/4): 3/4 and 1/4 of prompts, 1/2, 1/4, 1/4 of tokens
    of_prompts = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    want = 2 * of_prompts / (of_prompts + 1.5 * math.log(2))  # the tokens tell the prompt
    assert of_weights([[0.8, 0.4, 0.0], [0.0, 0.0, 0.4]]) == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("count", [2, 5, 30])
def test_one_token_a_prompt_gives_one(count):
    assert of_weights(torch.eye(count).mul(0.5).tolist()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("alike", ["prompts", "tokens"])
def test_prompts_or_tokens_that_are_all_the_same_share_nothing(alike):
    prompts, tokens = drawn(6, 8), drawn(1, 9, 8, seed=1)
    if alike == "prompts":
        prompts = prompts[:1].expand(6, -1)
    else:
        tokens = tokens[:, :1].expand(-1, 9, -1)
    assert nmi(prompts, tokens).item() == pytest.approx(0, abs=1e-12)


def test_weights_that_are_a_product_of_both_sides_share_nothing():
    rows, columns = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.2, 0.3, 0.7, 0.9])
    assert of_weights(torch.outer(rows, columns).tolist()) == pytest.approx(0, abs=1e-12)


def test_it_is_equations_7_and_8():
    prompts, tokens = drawn(6, 8), drawn(3, 9, 8, seed=1)
    want = [as_printed(prompts, image) for image in tokens]
    assert nmi(prompts, tokens).tolist() == pytest.approx(want, abs=1e-12)


TURN = torch.linalg.qr(drawn(8, 8, seed=2))[0]
UNCHANGING = {
    "order of prompts": lambda p, e: (p.flip(0), e),
    "order of tokens": lambda p, e: (p, e.flip(1)),
    "a common turn": lambda p, e: (p @ TURN, e @ TURN),
    "changed places": lambda p, e: (e[0], p[None]),
}


@pytest.mark.parametrize("change", list(UNCHANGING))
@pytest.mark.parametrize("seed", range(5))
def test_it_does_not_change_with(change, seed):
    prompts, tokens = drawn(6, 8, seed=seed), drawn(1, 9, 8, seed=seed + 100)
    changed = UNCHANGING[change](prompts, tokens)
    want = nmi(prompts, tokens)
    torch.testing.assert_close(nmi(*changed), want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_it_lies_between_0_and_1_and_goes_to_0_as_tokens_shrink(seed):
    prompts, tokens = drawn(6, 8, seed=seed), drawn(4, 9, 8, seed=seed + 100)
    found = nmi(prompts, tokens)
    assert ((found > 0) & (found < 1)).all()
    assert (nmi(prompts, tokens / 10) < found / 10).all()


def test_single_precision_tokens_are_measured_in_double():
    prompts, tokens = drawn(6, 8).float(), drawn(3, 9, 8, seed=1).float()
    want = nmi(prompts.double(), tokens.double())
    assert torch.equal(nmi(prompts, tokens), want)


@pytest.mark.parametrize("sizes", [(7,), (1, 6), (3, 3, 1), (1,) * 7])
def test_batches_give_what_all_images_at_once_give(sizes):
    prompts, tokens = drawn(6, 8), drawn(7, 9, 8, seed=1)
    seen = RunningNMI(prompts)
    for batch in tokens.split(list(sizes)):
        seen.add(batch)
    mean = sum(as_printed(prompts, image) for image in tokens) / 7
    assert seen.value() == pytest.approx(mean, abs=1e-12)
    assert seen.pooled() == pytest.approx(as_printed(prompts, tokens.flatten(0, 1)), abs=1e-12)


def test_what_has_no_value_is_refused():
    with pytest.raises(ValueError, match="one prompt with one token"):
        nmi(drawn(1, 8), drawn(1, 1, 8, seed=1))
    with pytest.raises(ValueError, match="0 for every prompt and token"):
        nmi(torch.ones(2, 1), torch.full((1, 3, 1), -1e4))
    with pytest.raises(ValueError, match="at least 1 image"):
        RunningNMI(drawn(6, 8)).value()


# ------------------------------------------------------------------------------------ layers


def prompted(name, seed=0, **fields):
    """A model that `name` has prepared, its images, in batches, and the bare model."""
    torch.manual_seed(seed)
    model = small_models.small_backbone("avg")
    shown = small_models.FakeBatches()
    methods.create(name, **fields).prepare(model, shown)
    return model, list(shown)


def layers_of(model, batches):
    """{i: (prompts, the tokens of all images)}."""
    found = {}
    for i, prompts, tokens in layerwise.layer_inputs(model, batches):
        found.setdefault(i, (prompts, []))[1].append(tokens.clone())
    return {i: (prompts, torch.cat(tokens)) for i, (prompts, tokens) in found.items()}


def seen_by_hooks(model, batches):
    """The inputs of all blocks in the model's own forward pass, (B, N, D) each."""
    seen = [[] for _ in model.blocks]
    hooks = [
        block.register_forward_pre_hook(lambda _, args, into=into: into.append(args[0]))
        for block, into in zip(model.blocks, seen, strict=True)
    ]
    with torch.no_grad():
        for images, _ in batches:
            model.eval()(images)
    for hook in hooks:
        hook.remove()
    return [torch.cat(inputs) for inputs in seen]


@pytest.mark.parametrize("form", ["keys_and_values", "concatenation"])
@pytest.mark.parametrize("name", ["vpt_deep", "spt_deep", "e2vpt"])
def test_tokens_are_those_of_the_prompted_pass(name, form):
    model, batches = prompted(name, form=form)
    found, want = layers_of(model, batches), seen_by_hooks(model, batches)
    assert list(found) == list(range(len(model.blocks)))
    for (_, tokens), inputs in zip(found.values(), want, strict=True):
        assert torch.equal(tokens, inputs[:, model.num_prefix_tokens :])


@pytest.mark.parametrize("form", ["keys_and_values", "concatenation"])
def test_prompts_are_those_of_each_block(form):
    model, batches = prompted("spt_deep", form=form)
    for (prompts, _), held in zip(
        layers_of(model, batches).values(), prompts_of(model), strict=True
    ):
        assert torch.equal(prompts, held)
        assert not prompts.requires_grad


def test_projected_prompts_are_as_wide_as_the_tokens():
    model, batches = prompted("vpt_deep", projection=8)
    assert {p.shape[1] for p, _ in layers_of(model, batches).values()} == {model.embed_dim}


@pytest.mark.parametrize("name", ["vpt_shallow", "spt_shallow", "gatevpt"])
def test_shallow_prompts_are_the_first_layers_alone(name):
    model, batches = prompted(name)
    found = layers_of(model, batches)
    want = torch.cat([embed_images(model, images)[:, 1:] for images, _ in batches])
    assert list(found) == [0]
    assert torch.equal(found[0][1], want)


def test_a_prompted_pass_is_not_the_bare_one():
    model, batches = prompted("vpt_deep")
    bare = small_models.small_backbone("avg")
    bare_inputs = seen_by_hooks(bare, batches)
    assert not torch.allclose(layers_of(model, batches)[2][1], bare_inputs[2][:, 1:])


def test_a_sweep_gives_each_layers_value():
    model, batches = prompted("spt_deep")
    found = layerwise.nmi_by_layer(model, "spt_deep", batches)
    layers = layers_of(model, batches).values()
    each = [nmi(p, tokens).mean().item() for p, tokens in layers]
    pooled = [nmi(p, tokens.flatten(0, 1)[None]).item() for p, tokens in layers]
    assert found["nmi"] == pytest.approx(each, abs=1e-12)
    assert found["nmi_pooled"] == pytest.approx(pooled, abs=1e-12)


@pytest.mark.parametrize("sweep", [layerwise.nmi_by_layer, layerwise.cka_by_layer])
def test_a_sweep_leaves_model_and_random_numbers_as_they_are(sweep):
    model, batches = prompted("vpt_deep", dropout=0.5)
    model.train()
    model.blocks[1].eval()  # a module whose mode is not its model's
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    learns = [p.requires_grad for p in model.parameters()]
    drawn_so_far = torch.get_rng_state(), random.getstate()
    sweep(model, "vpt_deep", batches)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == learns
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), drawn_so_far[0])
    assert random.getstate() == drawn_so_far[1]


def test_dropout_of_prompts_is_off_in_a_sweep():
    model, batches = prompted("vpt_deep", dropout=0.5)
    assert layerwise.nmi_by_layer(model.train(), "vpt_deep", batches) == layerwise.nmi_by_layer(
        model.eval(), "vpt_deep", batches
    )


def test_between_two_layers_the_model_is_in_its_own_mode():
    model, batches = prompted("vpt_deep")
    model.train()
    assert all(model.training for _ in layerwise.layer_inputs(model, batches))


def test_a_runs_order_of_images_goes_on_as_if_none_was_swept():
    model, _ = prompted("vpt_deep")
    size = model.patch_embed.img_size[0]
    pixels = torch.randint(256, (10, 3, size, size), dtype=torch.uint8)
    examples = Examples(torch.arange(10), pixels=pixels)
    orders = [torch.Generator().manual_seed(0) for _ in range(2)]
    swept, other = (
        BatchLoader(examples, VIEW, size, 4, (0.5,) * 3, (0.5,) * 3, CPU, order) for order in orders
    )
    layerwise.nmi_by_layer(model, "vpt_deep", swept)
    for (_, labels), (_, want) in zip(swept, other, strict=True):
        assert torch.equal(labels, want)


@pytest.mark.parametrize(
    ("sweep", "said"), [(layerwise.nmi_by_layer, "NMI"), (layerwise.cka_by_layer, "CKA")]
)
def test_a_method_without_prompts_is_refused_and_those_with_are_named(sweep, said):
    model, unread = prompted("linear")[0], iter(lambda: pytest.fail("an image was read"), None)
    with pytest.raises(UserError, match=rf"{said} needs prompts; linear has none") as error:
        sweep(model, "linear", unread)
    named = str(error.value).split(": ")[1].split(", ")
    assert {"vpt_deep", "vpt_shallow", "spt_deep", "spt_shallow", "e2vpt", "gatevpt"} <= set(named)
    assert not {"linear", "lora", "vqt", "full"} & set(named)


def test_whether_a_method_has_prompts_is_known_before_there_is_a_model():
    state = torch.get_rng_state()
    layerwise.require_prompts("NMI", "spt_deep_kmeans")
    with pytest.raises(UserError, match="lora has none"):
        layerwise.require_prompts("NMI", "lora")
    with pytest.raises(UserError, match="did you mean vpt_deep"):
        layerwise.require_prompts("NMI", "vtp_deep")
    assert torch.equal(torch.get_rng_state(), state)
