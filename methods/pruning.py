"""Pruning and rewinding of E2VPT's prompts (Han et al., 2023), https://arxiv.org/abs/2307.13770.

Train, `prune`, and train anew with the masks that this leaves.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from timm.models import VisionTransformer
from torch import Tensor

from methods.base import Batches
from methods.e2vpt import Prompted

LEAST_TOKENS, LEAST_PIECES = 1, 4  # what is left, whatever the share
SCORES: dict[str, Callable[[Tensor], Tensor]] = {"absolute": torch.abs, "signed": torch.clone}


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
