"""timm's Swin Transformer: attention within windows, and stages between which patches are merged.

Its tokens are maps, (B, H, W, D). Among prompts they are sequences: prompts first, then patches in
rows, (B, P + H W, D). Every window sees a copy of the prompts, to which it has no relative position
and from which its shift keeps nothing apart; the copies' outputs are averaged.
"""

from collections.abc import Callable, MutableSequence, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.swin_transformer import (
    PatchMerging,
    SwinTransformer,
    SwinTransformerBlock,
    WindowAttention,
    window_partition,
    window_reverse,
)
from torch import Tensor, nn

from methods.shared.attention import (
    attend,
    attend_in_block,
    attention_bias,
    attention_output,
    attention_update,
    finish_block,
    mlp_update,
    project_qkv,
    run_attention,
    run_with_prompts,
)
from methods.shared.base import Unsupported
from methods.shared.forward_steps import (
    ForwardStep,
    children_in_turn,
    forward_steps,
    modules_in_turn,
)
from methods.shared.stages import (
    StagedBlocks,
    carry_prompts,
    prompt_position,
    stage_lengths,
    token_map,
)
from methods.shared.structure import (
    biases_of,
    block_width,
    blocks_of,
    final_norms,
    is_pre_norm,
    patch_inputs,
    replace_head_drop,
)


@blocks_of.register
def _(model: SwinTransformer) -> MutableSequence[Any]:
    return StagedBlocks([stage.blocks for stage in model.layers])


@stage_lengths.register
def _(model: SwinTransformer) -> Sequence[int]:
    return [len(stage.blocks) for stage in model.layers]


@token_map.register
def map_of(block: SwinTransformerBlock) -> tuple[int, int]:
    """Return height and width of the block's map of patches."""
    if block.dynamic_mask:
        raise Unsupported("prompts need images of a size known beforehand; this Swin takes any")
    return block.input_resolution


@prompt_position.register
def _(model: SwinTransformer) -> int:
    return 0


@forward_steps.register
def _(model: SwinTransformer) -> list[ForwardStep]:
    stages: list[ForwardStep] = []
    for i in range(len(model.layers)):
        stages += modules_in_turn(model, f"layers.{i}.downsample")
        stages += children_in_turn(model, f"layers.{i}.blocks")
    head = children_in_turn(model, "head")  # in the order of their use
    return [*modules_in_turn(model, "patch_embed"), *stages, *modules_in_turn(model, "norm"), *head]


@patch_inputs.register
def _(model: SwinTransformer) -> int:
    return model.patch_embed.proj.weight[0].numel()


@final_norms.register
def _(model: SwinTransformer) -> Sequence[nn.Module]:
    return [model.norm]


@replace_head_drop.register
def _(model: SwinTransformer, build: Callable[[nn.Module], nn.Module]) -> None:
    model.head.drop = build(model.head.drop)


@block_width.register
def _(block: SwinTransformerBlock) -> int:
    return block.dim


@is_pre_norm.register
def _(block: SwinTransformerBlock) -> bool:
    return type(block) is SwinTransformerBlock


class PromptMerging(nn.Module):
    """A merging of patches that `count` prompts pass: each as if it were four equal patches."""

    def __init__(self, merging: PatchMerging, grid: tuple[int, int], count: int):
        super().__init__()
        self.merging, self.grid, self.count = merging, grid, count

    def forward(self, x: Tensor) -> Tensor:
        prompts, patches = x.flatten(1, 2).tensor_split([self.count], 1)
        merging, patches = self.merging, self.merging(patches.unflatten(1, self.grid))
        prompts = merging.reduction(merging.norm(prompts.repeat(1, 1, 4)))  # (B, P, 2 D)
        return torch.cat([prompts, patches.flatten(1, 2)], 1)[:, None]  # (B, 1, P + N, 2 D)


@carry_prompts.register
def _(model: SwinTransformer, count: int) -> None:
    for stage in model.layers[1:]:
        stage.downsample = PromptMerging(stage.downsample, stage.input_resolution, count)


# ---- attention within windows


@project_qkv.register
def _(attn: WindowAttention, x: Tensor, **_: Any) -> tuple[Tensor, Tensor, Tensor]:
    split = attn.qkv(x).unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    return split[0], split[1], split[2]


@biases_of.register
def _(attn: WindowAttention) -> Sequence[nn.Parameter | None]:
    return [attn.relative_position_bias_table]


@attention_bias.register
def _(attn: WindowAttention, mask: Tensor | None = None, **_: Any) -> Tensor:
    bias = attn._get_rel_pos_bias()  # (1, H, N, N)
    return bias if mask is None else bias + mask[:, None]  # (windows, H, N, N)


@attention_output.register
def _(attn: WindowAttention, x: Tensor, mixed: Tensor) -> Tensor:
    return attn.proj_drop(attn.proj(mixed))


@attention_update.register
def _(block: SwinTransformerBlock, attended: Tensor) -> Tensor:
    return block.drop_path1(attended)


@mlp_update.register
def _(block: SwinTransformerBlock, changed: Tensor) -> Tensor:
    return block.drop_path2(changed)


@run_attention.register
def _(block: SwinTransformerBlock, x: Tensor, **_: Any) -> Tensor:
    return block._attn(x)


@attend_in_block.register
def _(block: SwinTransformerBlock, x: Tensor, *more: tuple[Tensor, Tensor], **_: Any) -> Tensor:
    windows = attend(block.attn, to_windows(block, x), *more, mask=block.attn_mask)
    return from_windows(block, windows, x.shape[1:3])


@run_with_prompts.register
def _(block: SwinTransformerBlock, x: Tensor, start: int, count: int, **_: Any) -> Tensor:
    prompts, patches = block.norm1(x).tensor_split([count], 1)
    grid = map_of(block)
    windows = to_windows(block, patches.unflatten(1, grid))  # (B windows, N, D)
    copies = prompts.repeat_interleave(len(windows) // len(x), 0)  # (B windows, P, D)
    seen = torch.cat([copies, windows], 1)
    attended = attend(block.attn, seen, prompts=(0, count), mask=block.attn_mask)
    of_prompts, of_windows = attended.tensor_split([count], 1)
    of_prompts = of_prompts.unflatten(0, (len(x), -1)).mean(1)  # (B, P, D)
    of_patches = from_windows(block, of_windows, grid).flatten(1, 2)  # (B, H W, D)
    return finish_block(block, x, torch.cat([of_prompts, of_patches], 1))


def to_windows(block: SwinTransformerBlock, x: Tensor) -> Tensor:
    """Shift and pad a map, (B, H, W, D), as the block does; cut it into (B windows, N, D)."""
    x = torch.roll(x, [-shift for shift in block.shift_size], (1, 2))
    (height, width), size = x.shape[1:3], block.window_size
    padded = F.pad(x, (0, 0, 0, -width % size[1], 0, -height % size[0]))
    return window_partition(padded, size).flatten(1, 2)


def from_windows(block: SwinTransformerBlock, windows: Tensor, grid: Sequence[int]) -> Tensor:
    """Undo `to_windows`: (B windows, N, D) to (B, H, W, D)."""
    (height, width), size = grid, block.window_size
    windows = windows.unflatten(1, size)
    x = window_reverse(windows, size, height + -height % size[0], width + -width % size[1])
    return torch.roll(x[:, :height, :width], list(block.shift_size), (1, 2))
