"""The frozen trunk keeps no activations; the last block for the class token changes no number."""

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import methods
from bench.models import frozen_trunk, small_models
from bench.models.frozen_trunk import ForwardStep, last_block_for_class_token
from bench.training import trainer
from support import small_networks

B, N, D = 4, 65, 64  # of the contract's backbone


def kept_by(steps: list[ForwardStep], x: Tensor) -> list[int]:
    """Bytes that autograd saves in each step, apart from weights, which exist anyway."""
    own = {tensor.untyped_storage().data_ptr() for step in steps for tensor in step.tensors()}
    counts = []

    def saved(tensor: Tensor) -> Tensor:
        dense = tensor.layout is torch.strided
        if not dense or tensor.untyped_storage().data_ptr() not in own:
            counts[-1] += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(saved, lambda tensor: tensor):
        for step in steps:
            counts.append(0)
            x = step.run(x)
    return counts


def kept(name: str) -> tuple[list[int], int]:
    """Bytes that each step keeps in training, and the index of the first trainable step."""
    model = small_models.prepare_copy(methods.create(name), small_models.small_backbone()).train()
    steps = frozen_trunk.forward_steps(model)
    learns = [any(tensor.requires_grad for tensor in step.tensors()) for step in steps]
    return kept_by(
        steps, torch.randn(B, 3, small_models.PIXELS, small_models.PIXELS)
    ), learns.index(True)


@pytest.mark.sample(16)
@pytest.mark.parametrize("name", methods.names())
def test_no_activation_is_kept_below_what_learns(name):
    counts, first = kept(name)
    assert not any(counts[:first])


def test_linear_probing_keeps_the_pooled_features_alone():
    counts, first = kept("linear")
    assert first == len(counts) - 1
    assert sum(counts) == B * D * 4


def test_partial1_keeps_what_full_tuning_keeps_of_its_last_block_and_no_more():
    (partial, first), (full, _) = kept("partial1"), kept("full")
    assert partial[first:] == full[first:]
    assert sum(partial) < sum(full) / 2


def test_deep_prompts_keep_nothing_of_the_embedding_and_less_than_full_tuning():
    (prompts, first), (full, _) = kept("vpt_deep"), kept("full")
    assert (first, prompts[0]) == (1, 0)
    assert sum(prompts) < sum(full)


def test_an_embedding_that_learns_by_mistake_shows():
    model = small_models.prepare_copy(
        methods.create("linear"), small_models.small_backbone()
    ).train()
    model.pos_embed.requires_grad_()
    images = torch.randn(B, 3, small_models.PIXELS, small_models.PIXELS)
    counts = kept_by(frozen_trunk.forward_steps(model), images)
    assert all(count > B * N * D for count in counts[1:3])


ALONE = (
    "full",
    "bias",
    "ln",
    "lora",
    "partial1",
    "vpt_deep",
    "vpt_shallow",
    "spt_deep",
    "sidetune",
)
IMAGES = small_models.FakeBatches().batches[0][0]


def adapted(name: str, pooling: str = "token", **fields: object):
    return small_models.prepare_copy(
        methods.create(name, **fields), small_models.small_backbone(pooling)
    )


def is_narrow(model) -> bool:
    return last_block_for_class_token(model) is not model.blocks[-1]


@pytest.mark.parametrize("name", ALONE)
def test_the_class_token_alone_leaves_the_last_block(name):
    tokens = torch.randn(2, 65 + 100 * (name == "vpt_shallow"), 64)
    assert last_block_for_class_token(adapted(name))(tokens).shape == (2, 1, 64)


@pytest.mark.parametrize("name", ["mp", "vqt", "e2vpt", "convpass", "adapter", "ssf", "snf"])
def test_blocks_that_are_not_known_part_by_part_are_left_whole(name):
    assert not is_narrow(adapted(name))


@pytest.mark.parametrize("name", ALONE)
def test_a_head_that_reads_all_tokens_gets_them(name):
    assert not is_narrow(adapted(name, "avg"))


def test_what_draws_or_is_watched_is_left_whole():
    dropping, watched, concatenating = (
        adapted("full"),
        adapted("full"),
        adapted("vpt_deep", form="concatenation"),
    )
    dropping.blocks[-1].mlp.drop1 = nn.Dropout(0.1)
    watched.blocks[-1].attn.register_forward_hook(lambda *_: None)
    assert [is_narrow(m) for m in (dropping, watched, concatenating)] == [False, False, False]


@pytest.mark.sample(6)
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", ALONE)
@pytest.mark.usefixtures("double_precision")
def test_scores_and_gradients_are_those_of_the_whole_block(name, fused):
    model = small_models.prepare_copy(methods.create(name), small_models.small_backbone().double())
    for block in model.blocks:
        for module in block.modules():
            if hasattr(module, "fused_attn"):
                module.fused_attn = fused
    images, labels = small_models.FakeBatches(torch.float64).batches[0]
    got = []
    for read in (model, frozen_trunk.forward_fn(model)):
        model.zero_grad()
        scores = read(images)
        F.cross_entropy(scores, labels).backward()
        got.append(
            [scores.detach(), *(p.grad.clone() for p in model.parameters() if p.requires_grad)]
        )
    for whole, alone in zip(*got, strict=True):
        torch.testing.assert_close(alone, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ALONE)
def test_scores_under_autocast_are_those_of_the_whole_block(name):
    model = adapted(name)
    with torch.no_grad(), trainer.autocast(torch.device("cpu"), "bf16"):
        torch.testing.assert_close(
            frozen_trunk.forward_fn(model)(IMAGES), model(IMAGES), rtol=0, atol=0.02
        )


def test_a_block_with_normalised_queries_and_layer_scale_is_served_alike():
    torch.manual_seed(0)
    options = {"img_size": 64, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 4}
    model = timm.create_model(
        "vit_tiny_patch16_224", qk_norm=True, init_values=0.5, reg_tokens=4, **options
    ).eval()
    assert is_narrow(model)
    with torch.no_grad():
        torch.testing.assert_close(
            frozen_trunk.forward_fn(model)(IMAGES), model(IMAGES), rtol=0, atol=1e-5
        )


# Other families than ViTs


def of_family(family: str, name: str):
    """A small network of a family, to which a method is attached."""
    if family == "eva":
        changed = {"img_size": small_models.PIXELS, "embed_dim": 32, "depth": 2, "num_heads": 2}
        model = timm.create_model("vit_base_patch16_dinov3", num_classes=5, **changed).eval()
        model.requires_grad_(False).head.requires_grad_(True)
    else:
        model = small_networks.build(family)
    torch.manual_seed(0)
    methods.create(name).attach(model)
    return model.eval()


@pytest.mark.parametrize(
    ("family", "head", "last"),
    [("eva", "head", "blocks.1"), ("swin", "head.fc", "layers.2.blocks.1"),
     ("convnext", "head.fc", "stages.3.blocks.0"), ("resnet", "fc", "layer4.1")],
)  # fmt: skip
def test_every_family_s_frozen_trunk_ends_at_what_learns(family, head, last):
    for name, first in (("linear", head), ("partial1", last)):
        model = of_family(family, name)
        split = frozen_trunk.split_at_first_trainable(model)
        assert split.rest[0].name == first
        with torch.no_grad():
            assert torch.equal(split.logits(split.features(IMAGES)), model(IMAGES))


@pytest.mark.sample(4)
@pytest.mark.parametrize("family", ["eva", "swin", "convnext", "resnet"])
@pytest.mark.parametrize("name", ["full", "bias", "sidetune"])
def test_no_family_has_a_frozen_trunk_below_what_learns_at_once(family, name):
    model = of_family(family, name)
    assert frozen_trunk.split_at_first_trainable(model) is None
    assert frozen_trunk.forward_fn(model) is not model
    with torch.no_grad():
        assert torch.equal(frozen_trunk.forward_fn(model)(IMAGES), model(IMAGES))


def test_a_network_with_another_forward_pass_is_run_whole():
    changed, checkpointed, watched = (of_family("swin", "linear") for _ in range(3))
    changed.forward_features = lambda images: images
    checkpointed.set_grad_checkpointing(True)
    watched.layers[1].register_forward_hook(lambda *_: None)
    for model in (changed, checkpointed, watched):
        assert frozen_trunk.forward_fn(model) is model
