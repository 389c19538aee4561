"""timm's Beit: BEiT and BEiT v2, whose attention adds a bias for the distance of two patches."""

from collections.abc import Sequence
from typing import Any

import torch
from timm.models.beit import Attention, Beit, Block
from torch import Tensor, nn

from methods.shared.attention import (
    attention_bias,
    attention_output,
    attention_update,
    mlp_update,
    project_qkv,
    run_stepwise_with_prompts,
    run_with_prompts,
)
from methods.shared.families.projections import (
    call_qkv_as_layer,
    fused_projections,
    outer_biases,
    split_heads,
)
from methods.shared.families.relpos import PROMPTS_WITHOUT_BIAS
from methods.shared.families.token_models import register_token_model
from methods.shared.structure import (
    Positions,
    add_positions,
    biases_of,
    expose_layers,
    is_pre_norm,
    positions_by_block,
    remarks,
)

register_token_model(Beit, Block)


@add_positions.register
def _(model: Beit, patches: Tensor) -> Tensor:
    x = torch.cat([model.cls_token.expand(len(patches), -1, -1), patches], 1)
    return model.pos_drop(x if model.pos_embed is None else x + model.pos_embed)


@positions_by_block.register
def _(model: Beit) -> Sequence[Positions]:
    shared = None if model.rel_pos_bias is None else model.rel_pos_bias()
    return [{"shared_rel_pos_bias": shared} for _ in model.blocks]


@remarks.register
def _(model: Beit) -> Sequence[str]:
    alone = model.blocks[0].attn.relative_position_bias_table is None
    return [] if alone and model.rel_pos_bias is None else [PROMPTS_WITHOUT_BIAS]


@is_pre_norm.register
def _(block: Block) -> bool:
    return type(block) is Block


@expose_layers.register
def _(block: Block) -> None:
    call_qkv_as_layer(block.attn)
    if not hasattr(block.attn, "q_norm"):
        block.attn.q_norm = nn.Identity()  # for `project_qkv`; timm's own pass has none


@biases_of.register
def _(attn: Attention) -> Sequence[nn.Parameter | None]:
    return outer_biases(attn)


@project_qkv.register
def _(attn: Attention, x: Tensor, **_positions: Any) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (split_heads(attn, part) for part in fused_projections(attn, x))
    return getattr(attn, "q_norm", nn.Identity())(q), k, v


@attention_bias.register
def _(attn: Attention, shared_rel_pos_bias: Tensor | None = None, **_: Any) -> Tensor | None:
    table = attn.relative_position_bias_table
    biases = [None if table is None else attn._get_rel_pos_bias(), shared_rel_pos_bias]
    given = [bias.reshape(1, *bias.shape[-3:]) for bias in biases if bias is not None]
    return torch.stack(given).sum(0) if given else None  # (1, H, N, N)


@attention_output.register
def _(attn: Attention, x: Tensor, mixed: Tensor) -> Tensor:
    return attn.proj_drop(attn.proj(mixed))


@attention_update.register
def _(block: Block, attended: Tensor) -> Tensor:
    return block.drop_path1(attended if block.gamma_1 is None else block.gamma_1 * attended)


@mlp_update.register
def _(block: Block, changed: Tensor) -> Tensor:
    return block.drop_path2(changed if block.gamma_2 is None else block.gamma_2 * changed)


@run_with_prompts.register
def _(block: Block, x: Tensor, start: int, count: int, **positions: Any) -> Tensor:
    return run_stepwise_with_prompts(block, x, start, count, **positions)
