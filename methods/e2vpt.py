"""E2VPT: prompts for inputs, keys and values (Han et al., 2023), https://arxiv.org/abs/2307.13770."""

# MERGED methods.e2vpt: """Pruning and rewinding of E2VPT's prompts (Han et al., 2023), https://arxiv.org/abs/2307.13770.
#
# Train, `prune`, and train anew with the masks that this leaves.
# """
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

from methods.shared.attention import attend, finish_block, keys_and_values, require_timm_blocks
from methods.shared.base import Batches, Method
from methods.shared.prompts import (
    remove_tokens,
    require_prompt_count,
    require_prompt_form,
    uniform_prompts,
)
from methods.shared.registry import register

PIECES = 16


class E2VPTBlock(nn.Module):
    """A block with `prompts`, (P, D), behind the prefix and `pairs`, (H, N, D / H), as K and as V.

    `tokens`, (P,), and `pieces`, (P, 16), are the masks: all one until something is pruned. Where
    `fast`, the prompts are but keys and values too: nothing is computed for their outputs.
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
        """The prompts less what is masked, (P, D); piece j is the channels j, j + 16, j + 32 ..."""
        width = self.prompts.shape[1]
        pieces = self.pieces.repeat(1, -(-width // PIECES))[:, :width]
        return self.prompts * pieces * self.tokens[:, None]

    def rewind(self) -> None:
        """Set what is learned back to where it started."""
        self.prompts.copy_(self.first_prompts)
        self.pairs.copy_(self.first_pairs)

    def forward(self, x: Tensor, **_: Any) -> Tensor:
        block, prompts = self.block, self.seen()
        if self.fast:
            return self.run_block(x, keys_and_values(block.attn, block.norm1(prompts)))
        prompts = self.dropout(prompts.expand(len(x), -1, -1))  # (B, P, D)
        x = self.run_block(torch.cat([x[:, : self.start], prompts, x[:, self.start :]], 1))
        return x if self.keep else remove_tokens(x, self.start, len(self.prompts))

    def run_block(self, x: Tensor, *more: tuple[Tensor, Tensor]) -> Tensor:
        """The block's output for `x`, (B, N, D), with the pairs and `more` as keys and values."""
        block, pairs = self.block, (self.pairs, self.pairs)
        return finish_block(block, x, attend(block.attn, block.norm1(x), *more, pairs))


def kaiming_pairs(attn: Attention, count: int) -> Tensor:
    """The released code's start: uniform within sqrt(6 / (N * D / H)), (H, N, D / H)."""
    bound = (6 / (count * attn.head_dim)) ** 0.5
    return torch.empty(attn.num_heads, count, attn.head_dim).uniform_(-bound, bound)


@dataclass(frozen=True)
class E2VPT(Method):
    """`prompts` before each block as in VPT-deep, and `pairs` as keys and values of each head.

    As in the released code, one tensor is both key and value, where the paper writes two (not
    offered), and nothing is pruned: that is `e2vpt_pruned` (`methods.e2vpt`).
    """

    prompts: int = 10
    pairs: int = 5
    dropout: float = 0.0
    pool_prompts: bool = False
    form: str = "keys_and_values"

    def __post_init__(self) -> None:
        require_prompt_count(self.prompts)
        require_prompt_count(self.pairs)
        require_prompt_form(self.form)

    def attach(self, model: VisionTransformer) -> None:
        require_timm_blocks(model)
        start, last = model.num_prefix_tokens, len(model.blocks) - 1
        for i, block in enumerate(model.blocks):
            keep = self.pool_prompts and i == last
            fast = self.form == "keys_and_values" and not keep and not self.dropout
            prompts = uniform_prompts(model, self.prompts)
            pairs = kaiming_pairs(block.attn, self.pairs)
            model.blocks[i] = E2VPTBlock(block, prompts, pairs, start, fast, keep, self.dropout)


register("e2vpt", E2VPT())

MIN_TOKENS, MIN_PIECES = 1, 4  # what is left, whatever the share
IMPORTANCE_SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "absolute": torch.abs,
    "signed": torch.clone,
}


@dataclass(frozen=True)
class PrunedE2VPT(Method):
    """E2VPT that trains once to find what can be masked, and then starts over without it.

    `prepare` is the paper's first stage: `search_epochs` passes with AdamW at the rate `search_lr`,
    then the least important `token_share` of the prompts and, in each, `piece_share` of its pieces
    are masked, and everything, the head too, goes back to its start. So a record's init wall-clock
    is what the search costs. The paper tries shares from 0.1 to 0.9 on validation data; the
    defaults are their middle. The masks do not learn in the search; the released code's do.
    """

    prompts: int = 10
    pairs: int = 5
    token_share: float = 0.5
    piece_share: float = 0.5
    importance: str = "absolute"
    search_epochs: int = 10
    search_lr: float = 5e-3

    def __post_init__(self) -> None:
        for field in ("token_share", "piece_share"):
            if not 0 <= getattr(self, field) <= 1:
                raise ValueError(f"{field} must lie from 0 to 1; {getattr(self, field)} was given")
        if self.importance not in IMPORTANCE_SCORES:
            raise ValueError(
                f"no importance {self.importance!r}; there are {', '.join(IMPORTANCE_SCORES)}"
            )
        if self.search_epochs < 1:
            raise ValueError(f"search_epochs must be at least 1; {self.search_epochs} was given")

    def attach(self, model: VisionTransformer) -> None:
        E2VPT(self.prompts, self.pairs).attach(model)

    @torch.enable_grad()  # the search trains, whatever its caller does
    def prepare(self, model: VisionTransformer, batches: Batches) -> None:
        self.attach(model)
        model.to(next(model.patch_embed.parameters()).device)  # the batches lie where it does
        head = model.get_classifier()
        start = copy.deepcopy(head.state_dict())
        train_before_pruning(model, batches, self.search_epochs, self.search_lr)
        prune(model, batches, self.token_share, self.piece_share, self.importance)
        head.load_state_dict(start)


def train_before_pruning(
    model: VisionTransformer, batches: Batches, epochs: int, lr: float
) -> None:
    """Move what learns in `model` for so many passes over the batches; gradients are dropped."""
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

    All blocks share the masks. What is learned goes back to where it started (the released code
    draws it anew); the head is left as it is.
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
    """How the loss on `batches` hangs on each token's mask, (P,), and on each piece's, (P, 16).

    `by` the ``absolute`` gradient of a batch, as the paper says, or by the ``signed`` one, as the
    released code has it; in the mean over batches.
    """
    score, training = IMPORTANCE_SCORES[by], model.training
    model.eval()
    found = [[score(g) for g in _mask_gradients(model, *batch)] for batch in batches]
    model.train(training)
    tokens, pieces = zip(*found, strict=True)
    return torch.stack(tokens).mean(0), torch.stack(pieces).mean(0)


def mask_lowest(scores: Tensor, share: float, least: int) -> Tensor:
    """Ones, with zeros for the lowest `share` of the last dimension; `least` ones stay."""
    size = scores.shape[-1]
    count = min(int(share * size + 1e-9), size - least)
    lowest = scores.argsort(-1)[..., :count]
    return torch.ones_like(scores).scatter(-1, lowest, 0.0)


def _e2vpt_blocks(model: VisionTransformer) -> list[E2VPTBlock]:
    return [block for block in model.blocks if isinstance(block, E2VPTBlock)]


def _mask_gradients(
    model: VisionTransformer, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradient of the loss for the masks, as if the blocks shared them: (P,) and (P, 16)."""
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
