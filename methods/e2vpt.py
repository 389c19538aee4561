"""E2VPT: prompts for inputs, keys and values (Han et al., 2023), https://arxiv.org/abs/2307.13770.

`e2vpt` trains all of them; `e2vpt_pruned` trains, prunes, rewinds, and trains again with the masks.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import Attention
from timm.models import VisionTransformer
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from methods.shared.attention import (
    attend,
    finish_block,
    head_width,
    keys_and_values,
    require_stepwise_blocks,
)
from methods.shared.base import Batches, Method
from methods.shared.hyperparameters import require_choice, require_size
from methods.shared.prompts import (
    remove_tokens,
    require_prompt_count,
    require_prompt_form,
    uniform_prompts,
)
from methods.shared.registry import register
from methods.shared.structure import blocks_of, heads_of, prefix_tokens

PIECES = 16


class E2VPTBlock(nn.Module):
    """A block with `prompts`, (P, D), after the prefix and `pairs`, (H, N, D / H), as K and V.

    `tokens`, (P,), and `pieces`, (P, 16), are the masks: all one until something is pruned. With
    `fast` the prompts, too, are only keys and values, and their outputs are not computed.
    """

    tokens: Tensor
    pieces: Tensor
    first_prompts: Tensor
    first_pairs: Tensor

    def __init__(
        self,
        block: Block,
        prompts: Tensor,
        pairs: Tensor,
        start: int,
        fast: bool,
        keep: bool,
        dropout: float,
    ):
        super().__init__()
        self.block, self.start, self.fast, self.keep = block, start, fast, keep
        self.prompts, self.pairs = nn.Parameter(prompts), nn.Parameter(pairs)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("first_prompts", prompts.clone())
        self.register_buffer("first_pairs", pairs.clone())
        self.register_buffer("tokens", torch.ones(len(prompts)))
        self.register_buffer("pieces", torch.ones(len(prompts), PIECES))

    def seen(self) -> Tensor:
        """Return the masked prompts, (P, D); piece j is the channels j, j + 16, j + 32 ..."""
        width = self.prompts.shape[1]
        pieces = self.pieces.repeat(1, -(-width // PIECES))[:, :width]
        return self.prompts * pieces * self.tokens[:, None]

    def rewind(self) -> None:
        """Reset prompts and pairs to their initial values."""
        self.prompts.copy_(self.first_prompts)
        self.pairs.copy_(self.first_pairs)

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        block, prompts = self.block, self.seen()
        if self.fast:
            return self.run_block(x, keys_and_values(block.attn, block.norm1(prompts)), **kwargs)
        prompts = self.dropout(prompts.expand(len(x), -1, -1))  # (B, P, D)
        x = torch.cat([x[:, : self.start], prompts, x[:, self.start :]], 1)  # (B, P + N, D)
        x = self.run_block(x, prompts=(self.start, len(self.prompts)), **kwargs)
        return x if self.keep else remove_tokens(x, self.start, len(self.prompts))

    def run_block(self, x: Tensor, *more: tuple[Tensor, Tensor], **positions: Any) -> Tensor:
        """Run the block on `x`, (B, N, D), with the pairs and `more` as extra keys and values."""
        block, pairs = self.block, (self.pairs, self.pairs)
        return finish_block(block, x, attend(block.attn, block.norm1(x), *more, pairs, **positions))


def kaiming_pairs(attn: Attention, count: int) -> Tensor:
    """The released initialisation: uniform within sqrt(6 / (N * D / H)), (H, N, D / H)."""
    width = head_width(attn)
    bound = (6 / (count * width)) ** 0.5
    return torch.empty(attn.num_heads, count, width).uniform_(-bound, bound)


@dataclass(frozen=True)
class E2VPT(Method):
    """`prompts` before each block as in VPT-deep, and `pairs` as keys and values of each head.

    As in the released code, one tensor is both key and value; the paper's two are not offered.
    Nothing is pruned: see `PrunedE2VPT`.
    """

    prompts: int = 10
    pairs: int = 5
    dropout: float = 0.0
    pool_prompts: bool = False
    form: str = "keys_and_values"

    identity_at_start = False
    spatial_rule = "prompts stand after the prefix tokens"

    def __post_init__(self) -> None:
        require_prompt_count(self.prompts)
        require_size("the number of pairs", self.pairs)
        require_prompt_form(self.form)

    def attach(self, model: VisionTransformer) -> None:
        require_stepwise_blocks(model)
        blocks = blocks_of(model)
        start, last = prefix_tokens(model), len(blocks) - 1
        for i, block in enumerate(blocks):
            keep = self.pool_prompts and i == last
            fast = self.form == "keys_and_values" and not keep and not self.dropout
            prompts = uniform_prompts(model, self.prompts)
            pairs = kaiming_pairs(block.attn, self.pairs)
            blocks[i] = E2VPTBlock(block, prompts, pairs, start, fast, keep, self.dropout)


register("e2vpt", E2VPT())

MIN_TOKENS, MIN_PIECES = 1, 4  # kept, whatever the share
IMPORTANCE_SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "absolute": torch.abs,
    "signed": torch.clone,
}


@dataclass(frozen=True)
class PrunedE2VPT(Method):
    """E2VPT that first trains to find prompts to prune, and then starts again without them.

    `prepare` is the paper's first stage: train for `search_epochs` with AdamW at the rate
    `search_lr`, mask the least important `token_share` of the prompts and, in each prompt, the
    least important `piece_share` of its pieces, and reset everything, head included. A record's
    init time is therefore the cost of this search. The paper tries shares from 0.1 to 0.9 on
    validation data; the defaults are the middle. The masks are not trained during the search; in
    the released code they are.
    """

    prompts: int = 10
    pairs: int = 5
    token_share: float = 0.5
    piece_share: float = 0.5
    importance: str = "absolute"
    search_epochs: int = 10
    search_lr: float = 5e-3

    identity_at_start = False
    reads_labels = True
    spatial_rule = "prompts stand after the prefix tokens"

    def __post_init__(self) -> None:
        for field in ("token_share", "piece_share"):
            if not 0 <= getattr(self, field) <= 1:
                raise ValueError(f"{field} must lie from 0 to 1; {getattr(self, field)} was given")
        require_choice("importance", self.importance, IMPORTANCE_SCORES)
        require_size("search_epochs", self.search_epochs)

    def attach(self, model: VisionTransformer) -> None:
        E2VPT(self.prompts, self.pairs).attach(model)

    @torch.enable_grad()  # the search trains, even if its caller disabled gradients
    def prepare(self, model: VisionTransformer, batches: Batches) -> None:
        self.attach(model)
        model.to(next(model.patch_embed.parameters()).device)  # the device of the batches
        head = heads_of(model)
        start = copy.deepcopy(head.state_dict())
        train_before_pruning(model, batches, self.search_epochs, self.search_lr)
        prune(model, batches, self.token_share, self.piece_share, self.importance)
        head.load_state_dict(start)


def train_before_pruning(
    model: VisionTransformer, batches: Batches, epochs: int, lr: float
) -> None:
    """Train the trainable parameters of `model` for `epochs` passes over the batches."""
    live = [p for p in model.parameters() if p.requires_grad]
    optimiser, training = torch.optim.AdamW(live, lr=lr), model.training
    model.train()
    for _ in range(epochs):
        for images, labels in batches:
            optimiser.zero_grad(set_to_none=True)
            F.cross_entropy(model(images), labels).backward()
            optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    model.train(training)


def prune(
    model: VisionTransformer,
    batches: Batches,
    token_share: float,
    piece_share: float,
    by: str = "absolute",
) -> None:
    """Mask the least important share of tokens and, in each, of pieces; then rewind.

    All blocks share the masks. Prompts and pairs are reset to their initial values (the released
    code draws new ones); the head is left unchanged.
    """
    tokens, pieces = mask_importance(model, batches, by)
    with torch.no_grad():
        for block in _e2vpt_blocks(model):
            block.tokens.copy_(mask_lowest(tokens, token_share, MIN_TOKENS))
            block.pieces.copy_(mask_lowest(pieces, piece_share, MIN_PIECES))
            block.rewind()


def mask_importance(
    model: VisionTransformer, batches: Batches, by: str = "absolute"
) -> tuple[Tensor, Tensor]:
    """Importance of each token's mask, (P,), and of each piece's, (P, 16), for the loss.

    The mean over `batches` of the gradient: its absolute value (`by` ``absolute``), as in the
    paper, or with its sign (``signed``), as in the released code.
    """
    score, training = IMPORTANCE_SCORES[by], model.training
    model.eval()
    found = [[score(g) for g in _mask_gradients(model, *batch)] for batch in batches]
    model.train(training)
    tokens, pieces = zip(*found, strict=True)
    return torch.stack(tokens).mean(0), torch.stack(pieces).mean(0)


def mask_lowest(scores: Tensor, share: float, least: int) -> Tensor:
    """Return ones, zero at the lowest `share` of the last dimension; at least `least` ones stay."""
    size = scores.shape[-1]
    count = min(int(share * size + 1e-9), size - least)
    lowest = scores.argsort(-1)[..., :count]
    return torch.ones_like(scores).scatter(-1, lowest, 0.0)


def _e2vpt_blocks(model: VisionTransformer) -> list[E2VPTBlock]:
    return [block for block in blocks_of(model) if isinstance(block, E2VPTBlock)]


def _mask_gradients(
    model: VisionTransformer, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the loss for the masks, summed over blocks: (P,) and (P, 16)."""
    blocks = _e2vpt_blocks(model)
    masks = [block.tokens for block in blocks] + [block.pieces for block in blocks]
    for mask in masks:
        mask.requires_grad_(True)
    loss = F.cross_entropy(model(images), labels)
    gradients = torch.autograd.grad(loss, masks)
    for mask in masks:
        mask.requires_grad_(False)
    tokens, pieces = gradients[: len(blocks)], gradients[len(blocks) :]
    return torch.stack(tokens).sum(0), torch.stack(pieces).sum(0)


register("e2vpt_pruned", PrunedE2VPT())
