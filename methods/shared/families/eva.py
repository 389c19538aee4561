"""timm's Eva: EVA-02, DINOv3, Perception Encoder and other ViTs with rotary positions."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import AttentionRope, apply_rot_embed_cat
from timm.models.eva import Eva, EvaAttention, EvaBlock, EvaBlockPostNorm
from torch import Tensor, nn

from methods.shared.attention import (
    attention_output,
    attention_update,
    mlp_update,
    project_qkv,
    run_with_prompts,
)
from methods.shared.block_layers import qkv_layers
from methods.shared.families.projections import (
    call_qkv_as_layer,
    fused_projections,
    outer_biases,
    split_heads,
)
from methods.shared.families.token_models import register_token_model
from methods.shared.forward_steps import ForwardStep, forward_steps, modules_in_turn
from methods.shared.structure import (
    Positions,
    add_positions,
    biases_of,
    embed_images,
    expose_layers,
    is_pre_norm,
    positions_by_block,
)

register_token_model(Eva, EvaBlock, EvaBlockPostNorm)


@add_positions.register
def _(model: Eva, patches: Tensor) -> Tensor:
    return model.norm_pre(model._pos_embed(patches)[0])


@positions_by_block.register
def _(model: Eva) -> Sequence[Positions]:
    if model.rope is None:
        return [{} for _ in model.blocks]
    fixed = hasattr(model.rope, "feat_shape") and not model.dynamic_img_size  # as timm asks
    rope = model.rope.get_embed(*(() if fixed else (model.patch_embed.grid_size,)))
    each = rope if model.rope_mixed else [rope] * len(model.blocks)
    return [{"rope": of_block} for of_block in each]


@forward_steps.register
def _(model: Eva) -> list[ForwardStep]:
    if model.patch_drop is not None or (model.rope is not None and model.rope_mixed):
        return []  # positions that are drawn, or that are computed for all blocks at once
    embedding = (model.patch_embed, model.cls_token, model.reg_token, model.pos_embed)
    return [
        ForwardStep(
            "embedding",
            partial(embed_images, model),
            (*embedding, model.pos_drop, model.norm_pre, model.rope),
        ),
        *(
            ForwardStep(f"blocks.{i}", partial(_run_block, model, i), (block, model.rope))
            for i, block in enumerate(model.blocks)
        ),
        *modules_in_turn(model, "norm"),
        ForwardStep("pool", model.pool, (model.attn_pool,)),
        *modules_in_turn(model, "fc_norm", "head_drop", "head"),
    ]


def _run_block(model: Any, i: int, x: Tensor) -> Tensor:
    return model.blocks[i](x, **positions_by_block(model)[i])


@is_pre_norm.register
def _(block: EvaBlock) -> bool:
    return type(block) is EvaBlock


@expose_layers.register(EvaBlock)
@expose_layers.register(EvaBlockPostNorm)
def _(block: Any) -> None:
    call_qkv_as_layer(block.attn)


@project_qkv.register(EvaAttention)
@project_qkv.register(AttentionRope)
def _(attn: Any, x: Tensor, rope: Tensor | None = None, **_: Any) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (split_heads(attn, part) for part in _project(attn, x))
    q, k = attn.q_norm(q), attn.k_norm(k)
    if rope is not None:
        q, k = (_rotate(attn, part, rope).type_as(v) for part in (q, k))
    groups = getattr(attn, "num_kv_groups", 1)
    if groups > 1:
        k, v = (part.repeat_interleave(groups, 1) for part in (k, v))
    return q, k, v


def _project(attn: Any, x: Tensor) -> Sequence[Tensor]:
    if attn.qkv is None:
        return attn.q_proj(x), attn.k_proj(x), attn.v_proj(x)
    return fused_projections(attn, x)


@qkv_layers.register(EvaAttention)
@qkv_layers.register(AttentionRope)
def _(attn: Any) -> tuple[str, ...]:
    return ("q_proj", "k_proj", "v_proj") if attn.qkv is None else ("qkv",)


@biases_of.register
def _(attn: EvaAttention) -> Sequence[nn.Parameter | None]:
    return outer_biases(attn)


def _rotate(attn: Any, x: Tensor, rope: Tensor) -> Tensor:
    """Rotate the last tokens of `x`, (B, H, N, D / H), as many as `rope` has positions."""
    start = x.shape[2] - rope.shape[-2]
    rotated = apply_rot_embed_cat(x[:, :, start:], rope, half=attn.rotate_half)
    return torch.cat([x[:, :, :start], rotated], 2)


@attention_output.register(EvaAttention)
@attention_output.register(AttentionRope)
def _(attn: Any, x: Tensor, mixed: Tensor) -> Tensor:
    mixed = attn.norm(mixed)
    if attn.gate is not None:
        mixed = mixed * attn.gate(x).sigmoid()
    return attn.proj_drop(attn.proj(mixed))


@attention_update.register
def _(block: EvaBlock, attended: Tensor) -> Tensor:
    scaled = attended if block.gamma_1 is None else block.gamma_1 * attended
    return block.drop_path1(scaled)


@mlp_update.register
def _(block: EvaBlock, changed: Tensor) -> Tensor:
    scaled = changed if block.gamma_2 is None else block.gamma_2 * changed
    return block.drop_path2(scaled)


@run_with_prompts.register(EvaBlock)
@run_with_prompts.register(EvaBlockPostNorm)
def _(
    block: nn.Module, x: Tensor, start: int, count: int, rope: Tensor | None = None, **more: Any
) -> Tensor:
    if rope is not None:
        rope = F.pad(rope, (0, 0, count, 0))  # sine and cosine of the prompts, which stand first
        rope[..., :count, rope.shape[-1] // 2 :] = 1.0  # a rotation by nothing
    return block(x, rope=rope, **more)
