"""timm's VisionTransformer: ViT, DeiT, CLIP, DINO and DINOv2, MAE, MoCo-v3, SigLIP and others."""

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import torch.nn.functional as F
from timm.layers import Attention
from timm.models import VisionTransformer
from timm.models.vision_transformer import (
    Block,
    DiffParallelScalingBlock,
    ParallelScalingBlock,
)
from torch import Tensor, nn

from methods.shared.attention import (
    attention_output,
    attention_update,
    mlp_update,
    project_qkv,
    project_queries,
)
from methods.shared.base import Unsupported
from methods.shared.families.token_models import register_token_model
from methods.shared.forward_steps import (
    ForwardStep,
    children_in_turn,
    forward_steps,
    modules_in_turn,
)
from methods.shared.image_input import enlarge_images, image_size
from methods.shared.structure import (
    add_positions,
    biases_of,
    embed_images,
    is_pre_norm,
    patch_grid,
    patch_inputs,
)

register_token_model(VisionTransformer, Block)


@add_positions.register
def _(model: VisionTransformer, patches: Tensor) -> Tensor:
    return model.norm_pre(model.patch_drop(model._pos_embed(patches)))


@patch_inputs.register
def _(model: VisionTransformer) -> int:
    weight = getattr(getattr(model.patch_embed, "proj", None), "weight", None)
    if isinstance(weight, Tensor):
        return weight[0].numel()
    # another network makes the patches: as if it read the pixels that each stands for
    return model.in_chans * prod(model.patch_embed.feat_ratio(as_scalar=False))


@patch_grid.register
def _(model: VisionTransformer) -> tuple[int, int]:
    grid = model.patch_embed.grid_size
    if grid is None or not isinstance(model.patch_drop, nn.Identity):
        raise Unsupported("this method needs the whole map of patches, of a size known beforehand")
    return grid


@enlarge_images.register
def _(model: VisionTransformer, pixels: int) -> None:
    given = image_size(model)
    patch_grid(model)  # unless it is known, the positions cannot be resized
    model.set_input_size([side + 2 * pixels for side in given])
    model.patch_embed.img_size = given  # of the images themselves


@forward_steps.register
def _(model: VisionTransformer) -> list[ForwardStep]:
    if type(model.blocks) is not nn.Sequential:
        return []
    embedding = (model.patch_embed, model.cls_token, model.reg_token, model.pos_embed)
    dropout = (model.pos_drop, model.patch_drop, model.norm_pre)
    return [
        ForwardStep("embedding", partial(embed_images, model), (*embedding, *dropout)),
        *children_in_turn(model, "blocks"),
        *modules_in_turn(model, "norm"),
        ForwardStep("pool", model.pool, (model.attn_pool,)),
        *modules_in_turn(model, "fc_norm", "head_drop", "head"),
    ]


@biases_of.register(ParallelScalingBlock)
@biases_of.register(DiffParallelScalingBlock)
def _(block: Any) -> Sequence[nn.Parameter | None]:
    return [block.mlp_bias]


@is_pre_norm.register
def _(block: Block) -> bool:
    return type(block) is Block


@project_qkv.register
def _(attn: Attention, x: Tensor, **_positions: Any) -> tuple[Tensor, Tensor, Tensor]:
    B, N, _ = x.shape
    split = attn.qkv(x).reshape(B, N, 3, attn.num_heads, attn.head_dim).permute(2, 0, 3, 1, 4)
    return attn.q_norm(split[0]), attn.k_norm(split[1]), split[2]


@project_queries.register
def _(attn: Attention, x: Tensor) -> Tensor:
    if type(attn.qkv) is not nn.Linear:
        return project_qkv(attn, x)[0]
    width = attn.qkv.out_features // 3
    bias = None if attn.qkv.bias is None else attn.qkv.bias[:width]
    q = F.linear(x, attn.qkv.weight[:width], bias)  # without the cost of keys and values
    return attn.q_norm(q.unflatten(2, (attn.num_heads, attn.head_dim)).transpose(1, 2))


@attention_output.register
def _(attn: Attention, x: Tensor, mixed: Tensor) -> Tensor:
    mixed = attn.norm(mixed)
    if attn.gate is not None:
        mixed = mixed * attn.gate(x).sigmoid()
    return attn.proj_drop(attn.proj(mixed))


@attention_update.register
def _(block: Block, attended: Tensor) -> Tensor:
    return block.drop_path1(block.ls1(attended))


@mlp_update.register
def _(block: Block, changed: Tensor) -> Tensor:
    return block.drop_path2(block.ls2(changed))
