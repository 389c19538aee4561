"""The last block for the class token alone: where the head reads no other token, none is computed.

Keys and values come from all tokens, as ever; the query, the projection and the MLP, three quarters
of a block's products, from one. Exact but for rounding, in scores and gradients.
"""

# MERGED bench.models.frozen_trunk: """A backbone as the stages that its forward pass goes through, and how many of them are fixed.
#
# A fixed stage gives the same for an image whenever it is asked: nothing in it learns, and training
# mode changes nothing. Which stages those are is read from the model, never from a method's name.
# """
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile

import timm.layers
from timm.layers import Attention, DropPath, LayerScale, Mlp, PatchDropout
from timm.models import VisionTransformer
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from methods.shared.attention import attend_first_token, finish_block, keys_and_values
from methods.shared.backbone import embed_images
from methods.shared.prompts import KeyValuePromptBlock, PromptRemovalBlock
from methods.shared.tensor_slot import TensorSlot

# of what follows attention: modules that treat each token by itself, and draw nothing
TOKENWISE_MODULES = {
    nn.Identity, nn.Linear, nn.GELU, nn.LayerNorm, timm.layers.LayerNorm, timm.layers.GELU,
    LayerScale, Mlp,
}  # fmt: skip


def last_block_for_class_token(model: VisionTransformer) -> Callable[[Tensor], Tensor]:
    """The last block, (B, N, D) -> (B, 1, D) where the model allows it, else as it is."""
    block: nn.Module = model.blocks[-1]
    inner = block.block if isinstance(block, KeyValuePromptBlock | PromptRemovalBlock) else block
    alone = model.global_pool == "token" and model.attn_pool is None and _is_tokenwise(model.norm)
    if alone and isinstance(inner, Block) and _is_decomposable(inner):
        return partial(_class_token_output, block, inner)
    return block


def _class_token_output(block: nn.Module, inner: Block, x: Tensor) -> Tensor:
    """``block(x)[:, :1]`` of a block around `inner`, or of that itself."""
    more = []
    if isinstance(block, KeyValuePromptBlock):
        more.append(keys_and_values(inner.attn, inner.norm1(block.project(block.prompts))))
    return finish_block(inner, x[:, :1], attend_first_token(inner.attn, inner.norm1(x), *more))


def _is_decomposable(block: Block) -> bool:
    """Whether its parts can be computed one by one here, those behind attention for one token."""
    attn = block.attn
    if type(block) is not Block or type(attn) is not Attention or _has_hooked_module(block):
        return False
    behind = (attn.norm, attn.proj, block.ls1, block.norm2, block.mlp, block.ls2)
    draws = (attn.attn_drop, attn.proj_drop, block.drop_path1, block.drop_path2)
    return all(map(_is_tokenwise, behind)) and all(map(_is_identity, draws))


def _has_hooked_module(block: Block) -> bool:
    return any(is_hooked(module) for module in block.modules())


def _is_tokenwise(module: nn.Module) -> bool:
    return all(type(m) in TOKENWISE_MODULES or _is_identity(m) for m in module.modules())


def _is_identity(module: nn.Module) -> bool:
    """Whether it passes on what it gets: no dropout of any rate."""
    return type(module) is nn.Identity or (type(module) is nn.Dropout and module.p == 0)


def is_hooked(module: nn.Module) -> bool:
    """Whether calling it runs more than its own forward pass."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


FORWARD_METHODS = ("forward", "forward_features", "forward_head", "pool", "_pos_embed")


@dataclass(frozen=True)
class ForwardStep:
    """A step of the forward pass, with what it computes with."""

    name: str
    run: Callable[[Tensor], Tensor]
    parts: tuple[nn.Module | nn.Parameter | None, ...]

    def modules(self) -> Iterator[nn.Module]:
        for part in self.parts:
            if isinstance(part, nn.Module):
                yield from part.modules()

    def tensors(self) -> Iterator[Tensor]:
        """Parameters and buffers."""
        yield from (part for part in self.parts if isinstance(part, nn.Parameter))
        for module in self.modules():
            yield from module.parameters(recurse=False)
            yield from module.buffers(recurse=False)


@dataclass(frozen=True)
class SplitModel:
    """A model in two: the stages that are fixed, and the rest."""

    frozen: tuple[ForwardStep, ...]
    rest: tuple[ForwardStep, ...]

    def features(self, images: Tensor) -> Tensor:
        """What the fixed stages make of images, (B, 3, H, W): (B, N, D) or, once pooled, (B, D)."""
        return _run_steps(self.frozen, images)

    def scores(self, features: Tensor) -> Tensor:
        """What the model makes of such features: (B, classes)."""
        return _run_steps(self.rest, features)

    def fingerprint(self) -> tuple[object, ...]:
        """What is another as soon as one of the fixed tensors is replaced or written to.

        As torch's own autograd, it does not see what is written through ``.data``.
        """
        tensors = (tensor for stage in self.frozen for tensor in stage.tensors())
        modules = (id(module) for stage in self.frozen for module in stage.modules())
        return (*modules, *((id(t), t.data_ptr(), t._version) for t in tensors))


def split_at_first_trainable(model: VisionTransformer) -> SplitModel | None:
    """The model in two at its first stage that is not fixed; None where no block is below that.

    None, too, for a model whose forward pass is not timm's plain one.
    """
    if not _is_plain_vit(model):
        return None
    found = forward_steps(model)
    fixed = len(list(takewhile(_is_fixed, found)))
    while _handover_ids(found[:fixed]) & _handover_ids(found[fixed:]):
        fixed -= 1
    return SplitModel(tuple(found[:fixed]), tuple(found[fixed:])) if fixed > 1 else None


def forward_steps(model: VisionTransformer) -> list[ForwardStep]:
    """The steps of timm's forward pass: the embedding, each block, and what follows."""
    embedding = (model.patch_embed, model.cls_token, model.reg_token, model.pos_embed)
    dropped = (model.pos_drop, model.patch_drop, model.norm_pre)
    blocks = [ForwardStep(f"blocks.{i}", block, (block,)) for i, block in enumerate(model.blocks)]
    blocks[-1] = replace(blocks[-1], run=last_block_for_class_token(model))
    behind = (("fc_norm", model.fc_norm), ("head_drop", model.head_drop), ("head", model.head))
    return [
        ForwardStep("embedding", partial(embed_images, model), (*embedding, *dropped)),
        *blocks,
        ForwardStep("norm", model.norm, (model.norm,)),
        ForwardStep("pool", model.pool, (model.attn_pool,)),
        *(ForwardStep(name, part, (part,)) for name, part in behind),
    ]


def forward_fn(model: VisionTransformer) -> Callable[[Tensor], Tensor]:
    """What makes scores of images, (B, 3, H, W): the model's stages, or itself where not plain."""
    return partial(_run_steps, forward_steps(model)) if _is_plain_vit(model) else model


def _run_steps(steps: Sequence[ForwardStep], x: Tensor) -> Tensor:
    for stage in steps:
        x = stage.run(x)
    return x


def _is_plain_vit(model: VisionTransformer) -> bool:
    """Whether the model computes what its stages do one by one, and holds nothing else."""
    as_timm = all(
        name not in vars(model) and getattr(type(model), name) is getattr(VisionTransformer, name)
        for name in FORWARD_METHODS
    )
    if not as_timm or type(model.blocks) is not nn.Sequential or model.grad_checkpointing:
        return False
    held = {id(tensor) for stage in forward_steps(model) for tensor in stage.tensors()}
    everything = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    return held == everything and not is_hooked(model) and not is_hooked(model.blocks)


def _is_fixed(stage: ForwardStep) -> bool:
    learns = any(tensor.requires_grad for tensor in stage.tensors())
    return not learns and not any(_depends_on_training_mode(module) for module in stage.modules())


def _depends_on_training_mode(module: nn.Module) -> bool:
    """Whether it does in training mode what it does not in evaluation, or may do anything."""
    if isinstance(module, _DropoutNd):
        return module.p > 0
    if isinstance(module, DropPath):
        return bool(module.drop_prob)
    return isinstance(module, PatchDropout | _NormBase) or is_hooked(module)


def _handover_ids(steps: Sequence[ForwardStep]) -> set[int]:
    """The ways on which these stages give or take what does not pass through the stages between."""
    attributes = (v for stage in steps for m in stage.modules() for v in vars(m).values())
    flat = (x for v in attributes for x in (v if isinstance(v, list | tuple) else (v,)))
    return {id(x) for x in flat if isinstance(x, TensorSlot)}
