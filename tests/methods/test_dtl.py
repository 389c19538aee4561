"""DTL: a side state of every block, added to the later ones, so that backward ends early."""

import pytest
import timm
import torch
from torch import nn

import methods
from bench.models import small_models
from methods.dtl import GridConvolution
from support import official_numbers

NAMES = ["dtl", "dtl_plus"]


def twelve_blocks(**options):
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224",
        **{"img_size": 32, "embed_dim": 12, "num_heads": 2, "num_classes": 5, **options},
    )
    nn.init.normal_(model.head.weight)
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    return model


def images(height=32, width=32):
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


def with_side_states(model, name="dtl", **fields):
    """The model with the method, whose side states are not zero."""
    methods.create(name, **fields).attach(model)
    for n, p in model.named_parameters():
        if n.endswith(".b"):
            nn.init.normal_(p)
    return model


def watched(model):
    """The frozen blocks, and a list that gets, for each, whether gradients pass its tokens."""
    seen = {}
    for i, side in enumerate(model.blocks):
        inner = getattr(side.block, "block", side.block)
        inner.register_forward_hook(
            lambda module, given, out, i=i: seen.update(
                {i: (given[0].requires_grad, out.requires_grad)}
            )
        )
    return seen


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("fields", "reached"), [({}, range(7, 12)), ({"adapt_from": 9}, range(10, 12))]
)
def test_the_backward_graph_reaches_no_block_before_what_the_state_is_added_to(
    name, fields, reached
):
    model = with_side_states(twelve_blocks(), name, **fields)
    seen = watched(model)
    model(images()).sum().backward()
    assert {i for i in seen if any(seen[i])} == set(reached)
    sides = {n: p.grad for n, p in model.named_parameters() if n.endswith((".a", ".b"))}
    assert len(sides) == 24
    assert all(gradient.count_nonzero() for gradient in sides.values())


@pytest.mark.parametrize("name", NAMES)
def test_at_the_start_it_is_the_backbone_with_the_mean_of_patches(name):
    model = twelve_blocks(fc_norm=False)
    with torch.no_grad():
        tokens = model.blocks(model._pos_embed(model.patch_embed(images())))  # before the norm
        expected = model.head(model.norm(tokens[:, 1:].mean(1)))
        methods.create(name).attach(model)
        torch.testing.assert_close(model.eval()(images()), expected)


def test_a_backbone_that_pools_the_mean_keeps_its_pooling():
    model = twelve_blocks(global_pool="avg", fc_norm=True)
    with torch.no_grad():
        expected = model.eval()(images())
        methods.create("dtl").attach(model)
        torch.testing.assert_close(model.eval()(images()), expected)
    assert type(model.blocks[-1]).__name__ == "SideBlock"


def test_the_class_token_can_be_kept():
    model = twelve_blocks()
    with torch.no_grad():
        expected = model.eval()(images())
        methods.create("dtl", mean_of_patches=False).attach(model)
        torch.testing.assert_close(model.eval()(images()), expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "options",
    [
        {"img_size": (32, 64)},
        {"reg_tokens": 4},
        {"class_token": False, "global_pool": "avg"},
        {"img_size": 48, "patch_size": 8},
    ],
    ids=str,
)
def test_any_grid_and_any_number_of_prefix_tokens_will_do(name, options):
    model = with_side_states(twelve_blocks(**options), name)
    height, width = model.patch_embed.img_size
    assert model(images(height, width)).isfinite().all()


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("kernel", [1, 3, 4, 5])
def test_the_convolution_sees_patches_on_their_grid_and_no_prefix_token(kernel):
    convolution = GridConvolution(2, kernel, (2, 3), prefix=5)
    x = torch.randn(4, 5 + 6, 2)
    out = convolution(x)
    assert torch.equal(out[:, :5], x[:, :5])
    image = x[:, 5:].reshape(4, 2, 3, 2).permute(0, 3, 1, 2)
    weight = convolution.conv.weight
    expected = torch.nn.functional.conv2d(image, weight, padding="same", groups=2)
    expected = expected.permute(0, 2, 3, 1).reshape(4, 6, 2)
    torch.testing.assert_close(out[:, 5:], expected)


def test_all_adapting_blocks_share_one_convolution():
    model = with_side_states(twelve_blocks(), "dtl_plus")
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    used = {side.convolution for side in model.blocks[6:11]}
    assert len(convolutions) == 1
    assert [one.conv for (one,) in used] == convolutions


def test_a_backbone_without_a_sequence_of_tokens_is_refused():
    with pytest.raises(methods.Unsupported, match="works on a sequence of patch tokens"):
        methods.create("dtl").attach(timm.create_model("test_convnext", num_classes=3))


def test_blocks_that_are_not_there_cannot_be_adapted():
    with pytest.raises(methods.Unsupported, match="there is no block 3"):
        methods.create("dtl", adapt_from=3).attach(small_models.small_backbone())


def test_a_negative_kernel_is_refused():
    with pytest.raises(ValueError, match="DTL's kernel must be at least 0; -1 was given"):
        methods.create("dtl", kernel=-1)


@pytest.mark.parametrize("name", NAMES)
def test_logits_and_gradients_are_those_of_the_official_code(name):
    method, model = methods.create(name), official_numbers.network()
    method.attach(model)
    model.double().eval()
    learnt = {n: p for n, p in model.named_parameters() if p.requires_grad}
    official_numbers.fill(learnt)
    pixels, labels = official_numbers.batch()
    logits = model(pixels)
    loss = torch.nn.functional.cross_entropy(logits, labels)
    loss.backward()
    found = {
        "logits": logits.tolist(),
        "loss": loss.item(),
        "gradients": official_numbers.gradient_numbers({n: p.grad for n, p in learnt.items()}),
    }
    assert official_numbers.largest_difference(found, official_numbers.stored("dtl")[name]) < 1e-9
