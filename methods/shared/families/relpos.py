"""timm's VisionTransformerRelPos: ViTs that know positions only by a bias on their attention."""

from collections.abc import Sequence
from typing import Any

import torch
from timm.models.vision_transformer_relpos import (
    RelPosAttention,
    RelPosBlock,
    ResPostRelPosBlock,
    VisionTransformerRelPos,
)
from torch import Tensor

from methods.shared.attention import (
    attend,
    attention_bias,
    attention_output,
    attention_update,
    mlp_update,
    project_qkv,
    run_stepwise_with_prompts,
    run_with_prompts,
)
from methods.shared.families.projections import split_heads
from methods.shared.families.token_models import register_token_model
from methods.shared.structure import (
    Positions,
    add_positions,
    is_pre_norm,
    positions_by_block,
    remarks,
)

PROMPTS_WITHOUT_BIAS = (
    "its attention adds a bias for relative positions, and prompts, which have none, get none"
)

register_token_model(VisionTransformerRelPos, RelPosBlock, ResPostRelPosBlock)


@add_positions.register
def _(model: VisionTransformerRelPos, patches: Tensor) -> Tensor:
    if model.cls_token is None:
        return patches
    return torch.cat([model.cls_token.expand(len(patches), -1, -1), patches], 1)


@positions_by_block.register
def _(model: VisionTransformerRelPos) -> Sequence[Positions]:
    shared = None if model.shared_rel_pos is None else model.shared_rel_pos.get_bias()
    return [{"shared_rel_pos": shared} for _ in model.blocks]


@remarks.register
def _(model: VisionTransformerRelPos) -> Sequence[str]:
    return [PROMPTS_WITHOUT_BIAS]


@is_pre_norm.register
def _(block: RelPosBlock) -> bool:
    return type(block) is RelPosBlock


@project_qkv.register
def _(attn: RelPosAttention, x: Tensor, **_positions: Any) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (split_heads(attn, part) for part in attn.qkv(x).chunk(3, -1))
    return attn.q_norm(q), attn.k_norm(k), v


@attention_bias.register
def _(attn: RelPosAttention, shared_rel_pos: Tensor | None = None, **_: Any) -> Tensor | None:
    return shared_rel_pos if attn.rel_pos is None else attn.rel_pos.get_bias()  # (1, H, N, N)


@attention_output.register
def _(attn: RelPosAttention, x: Tensor, mixed: Tensor) -> Tensor:
    return attn.proj_drop(attn.proj(mixed))


@attention_update.register
def _(block: RelPosBlock, attended: Tensor) -> Tensor:
    return block.drop_path1(block.ls1(attended))


@mlp_update.register
def _(block: RelPosBlock, changed: Tensor) -> Tensor:
    return block.drop_path2(block.ls2(changed))


@run_with_prompts.register
def _(block: RelPosBlock, x: Tensor, start: int, count: int, **positions: Any) -> Tensor:
    return run_stepwise_with_prompts(block, x, start, count, **positions)


@run_with_prompts.register
def _(block: ResPostRelPosBlock, x: Tensor, start: int, count: int, **positions: Any) -> Tensor:
    attended = attend(block.attn, x, prompts=(start, count), **positions)
    x = x + block.drop_path1(block.norm1(attended))
    return x + block.drop_path2(block.norm2(block.mlp(x)))
