"""VIPAMIN: prompts from tokens and beside them (Park and Chung, 2025), https://arxiv.org/abs/2510.16446.

An initialisation of shallow prompts, as `methods.spt` is: what is trained is VPT-shallow.
"""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.shared.attention import (
    attention_bias,
    mixed_values,
    project_qkv,
    require_stepwise_blocks,
)
from methods.shared.base import Batches, Method, Unsupported
from methods.shared.hyperparameters import require_choice, require_size
from methods.shared.modes import eval_mode
from methods.shared.prompts import prompts_of, require_prompt_count, uniform_prompts
from methods.shared.registry import register
from methods.shared.structure import (
    blocks_of,
    embed_images,
    patch_grid,
    positions_by_block,
    prefix_tokens,
    require_tokens,
)
from methods.vpt import VPT

RETURNS = ("inverse", "transposed")


class FirstBlock(NamedTuple):
    """Means over images of the first block's input and of tensors inside it.

    Its patches, (N, D), with positions and before the norm; their keys, (N, D / H), averaged over
    heads, too; and all tokens' mixed values, (P + N, D), which the attention's last layer reads.
    """

    patches: Tensor
    keys: Tensor
    mixed: Tensor


@dataclass(frozen=True)
class VIPAMIN(Method):
    """`VPT`'s shallow prompts, (1 - `novelty`) times matched tokens plus `novelty` times new ones.

    A matched token is the mean of the `matched` patches whose keys in the first block are most like
    that of a random prompt, by their cosine. A new one is a random prompt's value, less its part in
    the span of the block's mixed values, mapped back through the pseudo-inverse of the values'
    weights. Patches, keys and mixed values are means over `images` training images, 256 as
    released, or all where there are fewer.

    The released code (https://github.com/iamjaekyun/vipamin) maps back with ``pinv(W)`` where it
    maps in with ``W.T``, the inverse of which is ``pinv(W.T)``: `back` ``transposed`` does so. It
    tries 2, 8, 32 and 128 for `matched` and 0, 0.5 and 1 for `novelty` on each task. Where there
    are at least as many tokens as channels, as in ViT-Ti/16, they leave nothing new: all new tokens
    are then the same.
    """

    prompts: int = 100
    matched: int = 8
    novelty: float = 0.5
    back: str = "inverse"
    images: int = 256
    pool_prompts: bool = False

    starts_from_images = True
    identity_at_start = False
    spatial_rule = "prompts, made from patches alone, stand after the prefix tokens"

    def __post_init__(self) -> None:
        require_prompt_count(self.prompts)
        require_size("the number of matched tokens", self.matched)
        require_size("the number of images", self.images)
        require_choice("VIPAMIN's way back", self.back, RETURNS)
        if not 0 <= self.novelty <= 1:
            raise ValueError(f"novelty must be at least 0 and at most 1; {self.novelty} was given")

    def attach(self, model: VisionTransformer) -> None:
        self._require_patches(model)
        VPT(self.prompts, deep=False, pool_prompts=self.pool_prompts).attach(model)

    @torch.no_grad()
    def prepare(self, model: VisionTransformer, batches: Batches) -> None:
        self._require_patches(model)
        block = blocks_of(model)[0]
        found = first_block(model, _first_images(batches, self.images))
        self.attach(model)
        (prompts,) = prompts_of(model)
        fresh = uniform_prompts(model, self.prompts)
        matched = matched_tokens(block, prompts.to(found.patches), found, self.matched)
        fresh = new_tokens(block.attn, fresh.to(found.patches), found.mixed, self.back)
        prompts.copy_((1 - self.novelty) * matched + self.novelty * fresh)

    def _require_patches(self, model: VisionTransformer) -> None:
        """Raise `Unsupported` unless the first block has enough patches and known steps."""
        require_tokens(model)
        require_stepwise_blocks(model)
        height, width = patch_grid(model)
        if self.matched > height * width:
            raise Unsupported(
                f"{self.matched} tokens are to be matched, and the grid has {height * width}"
            )


def first_block(model: VisionTransformer, images: Iterable[Tensor]) -> FirstBlock:
    """Compute the means of the first block over `images`, in batches, of the pretrained model."""
    sums, count = [], 0
    with eval_mode(model):
        for batch in images:
            sums.append([part.sum(0) for part in _first_block_of(model, batch)])
            count += len(batch)
    if not count:
        raise ValueError("these prompts are made from training images; there are none")
    return FirstBlock(*(reduce(torch.add, parts) / count for parts in zip(*sums, strict=True)))


def _first_block_of(model: VisionTransformer, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    block, positions = blocks_of(model)[0], positions_by_block(model)[0]
    x = embed_images(model, images)  # (B, N, D)
    q, k, v = project_qkv(block.attn, block.norm1(x), **positions)
    mixed = mixed_values(block.attn, q, k, v, attention_bias(block.attn, **positions))
    prefix = prefix_tokens(model)
    return x[:, prefix:], k.mean(1)[:, prefix:], mixed


def matched_tokens(block: Any, prompts: Tensor, found: FirstBlock, count: int) -> Tensor:
    """Return the mean of the `count` patches most like each of `prompts`, (P, D)."""
    keys = project_qkv(block.attn, block.norm1(prompts)[None])[1].mean(1)[0]  # (P, D / H)
    likeness = F.normalize(keys, dim=-1) @ F.normalize(found.keys, dim=-1).T  # (P, N)
    return found.patches[likeness.topk(count).indices].mean(1)  # (P, D)


def new_tokens(attn: nn.Module, tokens: Tensor, mixed: Tensor, back: str) -> Tensor:
    """Remove from the values of `tokens`, (P, D), what `mixed`, (N, D), span; return tokens."""
    weight, bias = value_projection(attn, tokens.shape[1])
    weight, bias = weight.to(tokens), bias.to(tokens)
    basis = torch.linalg.qr(mixed.T).Q  # (D, min(N, D))
    values = tokens @ weight.T + bias  # (P, D)
    values = values - values @ basis @ basis.T
    inverse = torch.linalg.pinv(weight.T if back == "inverse" else weight)
    return (values - bias) @ inverse


def value_projection(attn: nn.Module, width: int) -> tuple[Tensor, Tensor]:
    """Return the weight, (D, D), and bias, (D,), with which the attention makes values.

    Whatever layers hold them, values are an affine function of tokens: they are read off it, in
    double precision, where adding and subtracting the bias changes no weight.
    """
    exact = copy.deepcopy(attn).to("cpu", torch.float64)
    units = torch.eye(width + 1, width, dtype=torch.float64)  # the last one is 0
    values = project_qkv(exact, units[None])[2][0].transpose(0, 1).flatten(1)  # (D + 1, D)
    return (values[:-1] - values[-1]).T, values[-1]


def _first_images(batches: Batches, count: int) -> Iterator[Tensor]:
    """Yield the first `count` images, in batches; all where there are fewer."""
    for images, _ in batches:
        yield images[:count]
        count -= len(images)
        if count <= 0:
            return


register("vipamin", VIPAMIN())
