"""Nothing below the first part that learns keeps activations for the backward pass."""

import pytest
import torch
from torch import Tensor

import methods
from bench import contract, stages
from bench.stages import Stage

B, N, D = 4, 65, 64  # of the contract's backbone


def kept_by(steps: list[Stage], x: Tensor) -> list[int]:
    """Bytes that autograd saves in each of the stages; weights, which are there anyway, apart."""
    own = {tensor.untyped_storage().data_ptr() for stage in steps for tensor in stage.tensors()}
    counts = []

    def saved(tensor: Tensor) -> Tensor:
        dense = tensor.layout is torch.strided
        if not dense or tensor.untyped_storage().data_ptr() not in own:
            counts[-1] += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(saved, lambda tensor: tensor):
        for stage in steps:
            counts.append(0)
            x = stage.run(x)
    return counts


def kept(name: str) -> tuple[list[int], int]:
    """What each stage keeps in training, and which is the first that learns."""
    model = contract.prepared(methods.create(name), contract.backbone()).train()
    steps = stages.stages(model)
    learns = [any(tensor.requires_grad for tensor in stage.tensors()) for stage in steps]
    return kept_by(steps, torch.randn(B, 3, contract.PIXELS, contract.PIXELS)), learns.index(True)


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
    model = contract.prepared(methods.create("linear"), contract.backbone()).train()
    model.pos_embed.requires_grad_()
    images = torch.randn(B, 3, contract.PIXELS, contract.PIXELS)
    counts = kept_by(stages.stages(model), images)
    assert all(count > B * N * D for count in counts[1:3])
