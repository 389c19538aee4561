"""A backbone's forward pass as steps: its frozen trunk, and a last block for the class token alone.

A frozen step gives the same output for an image every time: it has no trainable parameter, and
training mode does not change it. Which steps are frozen is read from the model, never from a
method's name.

Where the head reads only the class token, the last block computes only that token: keys and values
from all tokens, but query, projection and MLP, three quarters of a block's products, from one.
Logits and gradients are exact up to rounding.
"""

from collections.abc import Callable, Sequence
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

from bench.models.training_mode import keeps_statistics
from methods.shared.attention import attend_first_token, finish_block, keys_and_values
from methods.shared.base import Model
from methods.shared.forward_steps import ForwardStep, overridden
from methods.shared.forward_steps import forward_steps as timm_steps
from methods.shared.prompts import KeyValuePromptBlock, PromptRemovalBlock
from methods.shared.tensor_slot import TensorSlot

FORWARD_METHODS = ("forward", "forward_features", "forward_head", "pool", "_pos_embed")  # timm's

# modules that treat each token separately, and draw no random numbers
TOKENWISE_MODULES = {
    nn.Identity, nn.Linear, nn.GELU, nn.LayerNorm, timm.layers.LayerNorm, timm.layers.GELU,
    LayerScale, Mlp,
}  # fmt: skip


@dataclass(frozen=True)
class SplitModel:
    """A model split in two: the frozen steps, and the rest."""

    frozen: tuple[ForwardStep, ...]
    rest: tuple[ForwardStep, ...]

    def features(self, images: Tensor) -> Tensor:
        """Run the frozen steps on images, (B, 3, H, W): (B, N, D) or, once pooled, (B, D)."""
        return _run_steps(self.frozen, images)

    def logits(self, features: Tensor) -> Tensor:
        """Run the rest on features: (B, classes)."""
        return _run_steps(self.rest, features)

    def fingerprint(self) -> tuple[object, ...]:
        """Fingerprint the frozen tensors; changes when one is replaced or modified in place.

        Like torch's autograd, it does not notice writes through ``.data``.
        """
        tensors = (tensor for step in self.frozen for tensor in step.tensors())
        modules = (id(module) for step in self.frozen for module in step.modules())
        return (*modules, *((id(t), t.data_ptr(), t._version) for t in tensors))


def split_at_first_trainable(model: Model) -> SplitModel | None:
    """Split the model at its first step that is not frozen; None if no block is below that.

    None, too, for a model whose forward pass is not timm's plain one.
    """
    if not _is_plain(model):
        return None
    steps = forward_steps(model)
    count = len(list(takewhile(_is_frozen, steps)))
    while _tensor_slot_ids(steps[:count]) & _tensor_slot_ids(steps[count:]):
        count -= 1
    return SplitModel(tuple(steps[:count]), tuple(steps[count:])) if count > 1 else None


def forward_fn(model: Model) -> Callable[[Tensor], Tensor]:
    """Return the function from images, (B, 3, H, W), to logits: the steps of a plain model.

    For a model whose forward pass is not timm's plain one, the model itself.
    """
    return partial(_run_steps, forward_steps(model)) if _is_plain(model) else model


def forward_steps(model: Model) -> list[ForwardStep]:
    """List the steps of timm's forward pass: the embedding, each block, and what follows them."""
    steps = list(timm_steps(model))
    if isinstance(model, VisionTransformer):
        last = next(i for i, step in enumerate(steps) if step.parts == (model.blocks[-1],))
        steps[last] = replace(steps[last], run=last_block_for_class_token(model))
    return steps


def _run_steps(steps: Sequence[ForwardStep], x: Tensor) -> Tensor:
    for step in steps:
        x = step.run(x)
    return x


def _is_plain(model: Model) -> bool:
    """Return whether the model computes exactly its steps in turn, and has no other tensor."""
    steps = timm_steps(model)
    if not steps or overridden(model, FORWARD_METHODS):
        return False
    if any(getattr(module, "grad_checkpointing", False) for module in model.modules()):
        return False
    in_steps = {id(tensor) for step in steps for tensor in step.tensors()}
    all_tensors = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    inside = {id(module) for step in steps for module in step.modules()}
    between = (module for module in model.modules() if id(module) not in inside)
    return in_steps == all_tensors and not any(map(is_hooked, between))


def _is_frozen(step: ForwardStep) -> bool:
    trainable = any(tensor.requires_grad for tensor in step.tensors())
    return not trainable and not any(map(_depends_on_training_mode, step.modules()))


def _depends_on_training_mode(module: nn.Module) -> bool:
    """Return whether training mode changes the module's output, or may: a hook can do anything."""
    if isinstance(module, _DropoutNd):
        return module.p > 0
    if isinstance(module, DropPath):
        return bool(module.drop_prob)
    if isinstance(module, _NormBase):
        return not keeps_statistics(module)
    return isinstance(module, PatchDropout) or is_hooked(module)


def is_hooked(module: nn.Module) -> bool:
    """Return whether a call runs more than the module's own forward pass."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _tensor_slot_ids(steps: Sequence[ForwardStep]) -> set[int]:
    """Return the slots through which the steps' modules pass tensors around the steps between."""
    attributes = (v for step in steps for m in step.modules() for v in vars(m).values())
    flat = (x for v in attributes for x in (v if isinstance(v, list | tuple) else (v,)))
    return {id(x) for x in flat if isinstance(x, TensorSlot)}


def last_block_for_class_token(model: Model) -> Callable[[Tensor], Tensor]:
    """Return the last block, reduced to (B, N, D) -> (B, 1, D) where the model allows it."""
    block: nn.Module = model.blocks[-1]
    inner = block.block if isinstance(block, KeyValuePromptBlock | PromptRemovalBlock) else block
    pooled = model.attn_pool is not None or model.global_pool != "token"
    if pooled or not _is_tokenwise(model.norm):
        return block
    if isinstance(inner, Block) and _is_decomposable(inner):
        return partial(_class_token_output, block, inner)
    return block


def _class_token_output(block: nn.Module, inner: Block, x: Tensor) -> Tensor:
    """Compute ``block(x)[:, :1]`` for a block that wraps `inner`, or is it."""
    prompts = []
    if isinstance(block, KeyValuePromptBlock):
        prompts.append(keys_and_values(inner.attn, inner.norm1(block.seen())))
    return finish_block(inner, x[:, :1], attend_first_token(inner.attn, inner.norm1(x), *prompts))


def _is_decomposable(block: Block) -> bool:
    """Return whether the block can be computed part by part, and after attention for one token."""
    attn = block.attn
    hooked = any(map(is_hooked, block.modules()))
    if type(block) is not Block or type(attn) is not Attention or hooked:
        return False
    after_attention = (attn.norm, attn.proj, block.ls1, block.norm2, block.mlp, block.ls2)
    dropouts = (attn.attn_drop, attn.proj_drop, block.drop_path1, block.drop_path2)
    return all(map(_is_tokenwise, after_attention)) and all(map(_is_identity, dropouts))


def _is_tokenwise(module: nn.Module) -> bool:
    return all(type(m) in TOKENWISE_MODULES or _is_identity(m) for m in module.modules())


def _is_identity(module: nn.Module) -> bool:
    """Return whether the module returns its input: an identity, or dropout with rate 0."""
    return type(module) is nn.Identity or (type(module) is nn.Dropout and module.p == 0)
