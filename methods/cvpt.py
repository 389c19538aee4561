"""CVPT: cross visual prompt tuning (Huang et al., 2025), https://arxiv.org/abs/2408.14961."""

from dataclasses import dataclass
from typing import Any

import torch
from timm.models import VisionTransformer
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from methods.shared.attention import (
    attend_in_block,
    attention_update,
    keys_and_values,
    mix_values,
    mlp_update,
    project_qkv,
    project_queries,
    require_stepwise_blocks,
)
from methods.shared.backbone import require_pre_norm
from methods.shared.base import Method
from methods.shared.hyperparameters import require_dropout_rate
from methods.shared.prompts import require_prompt_count
from methods.shared.registry import register
from methods.shared.structure import blocks_of, require_tokens


class CrossPromptBlock(nn.Module):
    """A block whose tokens, between attention and MLP, also attend to `prompts`, (P, D)."""

    def __init__(self, block: Block, prompts: Tensor, dropout: float):
        super().__init__()
        self.block, self.prompts = block, nn.Parameter(prompts)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        block = self.block
        x = x + attention_update(block, attend_in_block(block, block.norm1(x), **kwargs))
        x = x + self.attend_to_prompts(x)
        return x + mlp_update(block, block.mlp(block.norm2(x)))

    def attend_to_prompts(self, x: Tensor) -> Tensor:
        """Return the block's attention with queries from `x`, (B, N, D), the rest from prompts."""
        attn = self.block.attn
        keys, values = self._keys_and_values(len(x))  # (B, H, P, D / H) each
        return mix_values(attn, x, project_queries(attn, x), keys, values)

    def _keys_and_values(self, batch: int) -> tuple[Tensor, Tensor]:
        if self.training and self.dropout.p:  # each image has prompts of its own
            dropped = self.dropout(self.prompts.expand(batch, -1, -1))
            _, keys, values = project_qkv(self.block.attn, dropped)
            return keys, values
        shared = keys_and_values(self.block.attn, self.prompts)
        keys, values = (part.expand(batch, -1, -1, -1) for part in shared)
        return keys, values


@dataclass(frozen=True)
class CVPT(Method):
    """Prompts of each block that never join its tokens: these attend to them, x + CA(x, P).

    CA is the block's own attention, frozen, without positions, norm or layer scale: its queries
    are of the tokens x, its keys and values of the prompts P, which thus compete with no patch for
    attention. It stands between attention and MLP. Nothing can be merged.

    The released code (https://github.com/Lingyun0419/CVPT) chooses for each task the number of
    prompts (1 to 200), the learning rate, weight decay and batch size, and the seed, by the best
    accuracy on test images over epochs; a seed is no hyper-parameter here. It trains with
    a drop path of 0.1 in the backbone, which belongs to a recipe. Its prompts start within the
    bound of Xavier for all blocks at once: sqrt(6 / (D (P + L))).
    """

    prompts: int = 10
    dropout: float = 0.1

    identity_at_start = False
    spatial_rule = "every token attends to the prompts, which are no tokens"

    def __post_init__(self) -> None:
        require_prompt_count(self.prompts)
        require_dropout_rate("CVPT's dropout", self.dropout)

    def attach(self, model: VisionTransformer) -> None:
        require_tokens(model)
        require_pre_norm(model)
        require_stepwise_blocks(model)
        blocks = blocks_of(model)
        starts = torch.empty(len(blocks), self.prompts, model.embed_dim)
        nn.init.xavier_uniform_(starts)
        for i, prompts in enumerate(starts):
            blocks[i] = CrossPromptBlock(blocks[i], prompts.clone(), self.dropout)


register("cvpt", CVPT())
