"""Pruning and rewinding of E2VPT's prompts (Han et al., 2023), https://arxiv.org/abs/2307.13770.

Train, `prune`, and train anew with the masks that this leaves.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from timm.models import VisionTransformer
from torch import Tensor

from methods.base import Batches, Method
from methods.e2vpt import E2VPT, Prompted
from methods.registry import register

LEAST_TOKENS, LEAST_PIECES = 1, 4  # what is left, whatever the share
SCORES: dict[str, Callable[[Tensor], Tensor]] = {"absolute": torch.abs, "signed": torch.clone}


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
        if self.importance not in SCORES:
            raise ValueError(f"no importance {self.importance!r}; there are {', '.join(SCORES)}")
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
        train(model, batches, self.search_epochs, self.search_lr)
        prune(model, batches, self.token_share, self.piece_share, self.importance)
        head.load_state_dict(start)


def train(model: VisionTransformer, batches: Batches, epochs: int, lr: float) -> None:
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
    tokens, pieces = importance(model, batches, by)
    with torch.no_grad():
        for block in _prompted(model):
            block.tokens.copy_(lowest_masked(tokens, token_share, LEAST_TOKENS))
            block.pieces.copy_(lowest_masked(pieces, piece_share, LEAST_PIECES))
            block.rewind()


def importance(
    model: VisionTransformer, batches: Batches, by: str = "absolute"
) -> tuple[Tensor, Tensor]:
    """How the loss on `batches` hangs on each token's mask, (P,), and on each piece's, (P, 16).

    `by` the ``absolute`` gradient of a batch, as the paper says, or by the ``signed`` one, as the
    released code has it; in the mean over batches.
    """
    score, training = SCORES[by], model.training
    model.eval()
    found = [[score(g) for g in _gradients(model, *batch)] for batch in batches]
    model.train(training)
    tokens, pieces = zip(*found, strict=True)
    return torch.stack(tokens).mean(0), torch.stack(pieces).mean(0)


def lowest_masked(scores: Tensor, share: float, least: int) -> Tensor:
    """Ones, with zeros for the lowest `share` of the last dimension; `least` ones stay."""
    size = scores.shape[-1]
    count = min(int(share * size + 1e-9), size - least)
    lowest = scores.argsort(-1)[..., :count]
    return torch.ones_like(scores).scatter(-1, lowest, 0.0)


def _prompted(model: VisionTransformer) -> list[Prompted]:
    return [block for block in model.blocks if isinstance(block, Prompted)]


def _gradients(model: VisionTransformer, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of the loss for the masks, as if the blocks shared them: (P,) and (P, 16)."""
    blocks = _prompted(model)
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
