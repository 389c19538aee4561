"""A backbone as the stages that its forward pass goes through, and how many of them are fixed.

A fixed stage gives the same for an image whenever it is asked: nothing in it learns, and training
mode changes nothing. Which stages those are is read from the model, never from a method's name.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile

from timm.layers import DropPath, PatchDropout
from timm.models import VisionTransformer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from bench.last_block import for_class_token, is_hooked
from methods.handover import Handover
from methods.surgery import embed

PASSES = ("forward", "forward_features", "forward_head", "pool", "_pos_embed")


@dataclass(frozen=True)
class Stage:
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
class Split:
    """A model in two: the stages that are fixed, and the rest."""

    below: tuple[Stage, ...]
    above: tuple[Stage, ...]

    def features(self, images: Tensor) -> Tensor:
        """What the fixed stages make of images, (B, 3, H, W): (B, N, D) or, once pooled, (B, D)."""
        return _through(self.below, images)

    def scores(self, features: Tensor) -> Tensor:
        """What the model makes of such features: (B, classes)."""
        return _through(self.above, features)

    def mark(self) -> tuple[object, ...]:
        """What is another as soon as one of the fixed tensors is replaced or written to.

        As torch's own autograd, it does not see what is written through ``.data``.
        """
        tensors = (tensor for stage in self.below for tensor in stage.tensors())
        modules = (id(module) for stage in self.below for module in stage.modules())
        return (*modules, *((id(t), t.data_ptr(), t._version) for t in tensors))


def split(model: VisionTransformer) -> Split | None:
    """The model in two at its first stage that is not fixed; None where no block is below that.

    None, too, for a model whose forward pass is not timm's plain one.
    """
    if not _is_plain(model):
        return None
    found = stages(model)
    fixed = len(list(takewhile(_is_fixed, found)))
    while _handed_over(found[:fixed]) & _handed_over(found[fixed:]):
        fixed -= 1
    return Split(tuple(found[:fixed]), tuple(found[fixed:])) if fixed > 1 else None


def stages(model: VisionTransformer) -> list[Stage]:
    """The steps of timm's forward pass: the embedding, each block, and what follows."""
    embedding = (model.patch_embed, model.cls_token, model.reg_token, model.pos_embed)
    dropped = (model.pos_drop, model.patch_drop, model.norm_pre)
    blocks = [Stage(f"blocks.{i}", block, (block,)) for i, block in enumerate(model.blocks)]
    blocks[-1] = replace(blocks[-1], run=for_class_token(model))
    behind = (("fc_norm", model.fc_norm), ("head_drop", model.head_drop), ("head", model.head))
    return [
        Stage("embedding", partial(embed, model), (*embedding, *dropped)),
        *blocks,
        Stage("norm", model.norm, (model.norm,)),
        Stage("pool", model.pool, (model.attn_pool,)),
        *(Stage(name, part, (part,)) for name, part in behind),
    ]


def whole(model: VisionTransformer) -> Callable[[Tensor], Tensor]:
    """What makes scores of images, (B, 3, H, W): the model's stages, or itself where not plain."""
    return partial(_through, stages(model)) if _is_plain(model) else model


def _through(steps: Sequence[Stage], x: Tensor) -> Tensor:
    for stage in steps:
        x = stage.run(x)
    return x


def _is_plain(model: VisionTransformer) -> bool:
    """Whether the model computes what its stages do one by one, and holds nothing else."""
    as_timm = all(
        name not in vars(model) and getattr(type(model), name) is getattr(VisionTransformer, name)
        for name in PASSES
    )
    if not as_timm or type(model.blocks) is not nn.Sequential or model.grad_checkpointing:
        return False
    held = {id(tensor) for stage in stages(model) for tensor in stage.tensors()}
    everything = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    return held == everything and not is_hooked(model) and not is_hooked(model.blocks)


def _is_fixed(stage: Stage) -> bool:
    learns = any(tensor.requires_grad for tensor in stage.tensors())
    return not learns and not any(_is_lively(module) for module in stage.modules())


def _is_lively(module: nn.Module) -> bool:
    """Whether it does in training mode what it does not in evaluation, or may do anything."""
    if isinstance(module, _DropoutNd):
        return module.p > 0
    if isinstance(module, DropPath):
        return bool(module.drop_prob)
    return isinstance(module, PatchDropout | _NormBase) or is_hooked(module)


def _handed_over(steps: Sequence[Stage]) -> set[int]:
    """The ways on which these stages give or take what does not pass through the stages between."""
    attributes = (v for stage in steps for m in stage.modules() for v in vars(m).values())
    flat = (x for v in attributes for x in (v if isinstance(v, list | tuple) else (v,)))
    return {id(x) for x in flat if isinstance(x, Handover)}
