"""Prompts in a backbone: learnable tokens that stand behind the prefix tokens.

Two forms give the same scores. `Concatenated` is the papers' wording: the prompts join the sequence
and their outputs are thrown away after the block. `KeysAndValues` never computes those outputs: a
prompt that is replaced before the next block matters only as one more key and value, the same for
every image, so ``LN1(P) -> k, v`` is computed once a step.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from timm.layers import Attention
from timm.models import VisionTransformer
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from methods.base import Unsupported
from methods.surgery import require_plain_blocks

FORMS = ("keys_and_values", "concatenation")


@runtime_checkable
class HoldsPrompts(Protocol):
    """A block with prompts of its own; any method's block that has the verb is one."""

    def seen(self) -> Tensor:
        """The prompts as the block receives them in evaluation, (P, D)."""
        ...


class Concatenated(nn.Module):
    """A block that sees `prompts` right behind the prefix tokens; with `keep`, so do later ones.

    `project` makes tokens of the prompts, (P, D), where they are narrower.
    """

    def __init__(
        self,
        block: nn.Module,
        prompts: Tensor,
        start: int,
        keep: bool,
        dropout: float,
        project: nn.Module | None = None,
    ):
        super().__init__()
        self.block, self.prompts = block, nn.Parameter(prompts)
        self.start, self.keep, self.dropout = start, keep, nn.Dropout(dropout)
        self.project = project or nn.Identity()

    def seen(self) -> Tensor:
        return self.project(self.prompts)

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        prompts = self.dropout(self.seen().expand(len(x), -1, -1))  # (B, P, D)
        x = self.block(torch.cat([x[:, : self.start], prompts, x[:, self.start :]], 1), **kwargs)
        return x if self.keep else without(x, self.start, len(self.prompts))


class KeysAndValues(nn.Module):
    """A block that sees `prompts` as keys and values only: `Concatenated` without the waste."""

    def __init__(self, block: Block, prompts: Tensor, project: nn.Module | None = None):
        super().__init__()
        self.block, self.prompts = block, nn.Parameter(prompts)
        self.project = project or nn.Identity()

    def seen(self) -> Tensor:
        return self.project(self.prompts)

    def forward(self, x: Tensor, **_: Any) -> Tensor:
        attn, norm = self.block.attn, self.block.norm1
        prompts = norm(self.seen())  # (P, D)
        attended = attend(attn, norm(x), keys_and_values(attn, prompts))
        return after_attention(self.block, x, attended)


class WithoutPrompts(nn.Module):
    """The last block; its outputs at the prompts' positions are left out of what follows."""

    def __init__(self, block: nn.Module, start: int, count: int):
        super().__init__()
        self.block, self.start, self.count = block, start, count

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        return without(self.block(x, **kwargs), self.start, self.count)


def without(x: Tensor, start: int, count: int) -> Tensor:
    """`x`, (B, N, D), less `count` tokens from `start` on."""
    return torch.cat([x[:, :start], x[:, start + count :]], 1)


def attend(attn: Attention, x: Tensor, *more: tuple[Tensor, Tensor]) -> Tensor:
    """timm's attention over `x`, (B, N, D), with `more` keys and values, (H, P, D / H) each."""
    q, k, v = _asked(attn, x, more)
    return mix(attn, x, q, k, v)


def attend_first(attn: Attention, x: Tensor, *more: tuple[Tensor, Tensor]) -> Tensor:
    """What `attend` returns for the first token alone, (B, 1, D)."""
    q, k, v = _asked(attn, x, more)
    return mix(attn, x[:, :1], q[:, :, :1], k, v)


def _asked(
    attn: Attention, x: Tensor, more: Sequence[tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of `x`, (B, H, N, D / H) each, `more` before the latter two."""
    q, k, v = project(attn, x)
    if more:
        q = q.contiguous()  # else it would keep the keys and values that the longer ones replace
    for keys, values in more:
        k = torch.cat([keys.expand(len(x), -1, -1, -1), k], 2)
        v = torch.cat([values.expand(len(x), -1, -1, -1), v], 2)
    return q, k, v


def keys_and_values(attn: Attention, x: Tensor) -> tuple[Tensor, Tensor]:
    """The keys and values that `attn` makes of `x`, (P, D): (H, P, D / H) each."""
    _, k, v = project(attn, x[None])
    return k[0], v[0]


def project(attn: Attention, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The queries, keys and values that `attn` makes of `x`, (B, N, D): (B, H, N, D / H) each."""
    B, N, _ = x.shape
    split = attn.qkv(x).reshape(B, N, 3, attn.num_heads, attn.head_dim).permute(2, 0, 3, 1, 4)
    return attn.q_norm(split[0]), attn.k_norm(split[1]), split[2]


def mix(attn: Attention, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """What `attn` returns for `x`, (B, N, D), with these queries, keys and values."""
    mixed = _mix(attn, q, k, v).transpose(1, 2).flatten(2)  # (B, N, D)
    mixed = attn.norm(mixed)
    if attn.gate is not None:
        mixed = mixed * attn.gate(x).sigmoid()
    return attn.proj_drop(attn.proj(mixed))


def _mix(attn: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The values mixed as the queries ask, in the form that `attn` itself uses."""
    if attn.fused_attn:
        dropped = attn.attn_drop.p if attn.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropped)
    return attn.attn_drop((q * attn.scale @ k.transpose(-2, -1)).softmax(-1)) @ v


def after_attention(block: Block, x: Tensor, attended: Tensor) -> Tensor:
    """The rest of timm's block, from what its attention made of `x`."""
    x = x + block.drop_path1(block.ls1(attended))
    return x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))


def add_deep_prompts(
    model: VisionTransformer,
    prompts: Sequence[Tensor],
    form: str,
    pool_prompts: bool = False,
    dropout: float = 0.0,
    project: nn.Module | None = None,
) -> None:
    """Prompt every block with its own of `prompts`, (P, D) each, or what `project` makes (P, D).

    With `pool_prompts` the last block keeps its outputs at the prompts' positions, for a head that
    averages over all but the prefix tokens. Element dropout draws a mask an image, and such
    pooling needs those outputs: both use the concatenation, whatever the `form`.
    """
    require_plain_blocks(model)
    start, last = model.num_prefix_tokens, len(model.blocks) - 1
    for i, block in enumerate(model.blocks):
        keep = pool_prompts and i == last
        fast = form == "keys_and_values" and not keep and not dropout and _knows(block)
        model.blocks[i] = (
            KeysAndValues(block, prompts[i], project)
            if fast
            else Concatenated(block, prompts[i], start, keep, dropout, project)
        )


def _knows(block: nn.Module) -> bool:
    """Whether `attend` and `after_attention` compute what this block does."""
    return isinstance(getattr(block, "attn", None), Attention) and hasattr(block, "ls1")


def require_known_blocks(model: VisionTransformer) -> None:
    """Raise `Unsupported` unless the parts of every block can be computed one by one here."""
    for block in model.blocks:
        if not _knows(block):
            raise Unsupported(
                f"this method computes timm's Block with its Attention; these are "
                f"{type(block).__name__} with {type(getattr(block, 'attn', None)).__name__}"
            )


def add_shallow_prompts(
    model: VisionTransformer,
    prompts: Tensor,
    pool_prompts: bool = False,
    dropout: float = 0.0,
    project: nn.Module | None = None,
) -> None:
    """Put `prompts`, (P, D) once projected, before the first block; they travel to the last."""
    require_plain_blocks(model)
    start, count, blocks = model.num_prefix_tokens, len(prompts), model.blocks
    if not pool_prompts:
        blocks[-1] = WithoutPrompts(blocks[-1], start, count)
    blocks[0] = Concatenated(blocks[0], prompts, start, True, dropout, project)


def prompts_of(model: VisionTransformer) -> list[nn.Parameter]:
    """The prompts of every prompted block, in order."""
    return [m.prompts for m in model.blocks if isinstance(m, Concatenated | KeysAndValues)]


def uniform_prompts(model: VisionTransformer, count: int, width: int | None = None) -> Tensor:
    """VPT's start: uniform within sqrt(6 / (3 p^2 + D)), as for the patch embedding, (count, D).

    A `width` other than the backbone's stands in place of D.
    """
    width = width or model.embed_dim
    patches = getattr(getattr(model.patch_embed, "proj", None), "weight", None)
    if not isinstance(patches, Tensor):  # where a network of its own makes the patches
        raise Unsupported(
            "VPT's prompts start as wide as the weights of patch_embed.proj allow; "
            f"{type(model.patch_embed).__name__} has none"
        )
    bound = (6 / (patches[0].numel() + width)) ** 0.5
    return torch.empty(count, width).uniform_(-bound, bound)


def require_count(count: int) -> None:
    """Raise `ValueError` for a number of prompts that is none."""
    if count < 1:
        raise ValueError(f"the number of prompts must be at least 1; {count} was given")


def require_form(form: str) -> None:
    """Raise `ValueError` for an unknown form of deep prompts."""
    if form not in FORMS:
        raise ValueError(f"no form of prompts {form!r}; there are {' and '.join(FORMS)}")
