"""BPT: bilinear prompt tuning (Wang et al., 2025), https://arxiv.org/abs/2506.22908.

The prompts are a product of two matrices that both learn. The paper's reason: patches that queries
and keys have projected are bursty and far from normal, which makes it hard to learn prompts alone.
"""

from dataclasses import dataclass

import torch
from timm.models import VisionTransformer
from torch import nn

from methods.shared.base import Method
from methods.shared.hyperparameters import require_size
from methods.shared.prompts import (
    add_deep_prompts,
    add_shallow_prompts,
    require_prompt_count,
    require_prompt_form,
)
from methods.shared.registry import register
from methods.shared.stages import prompt_position, token_widths


@dataclass(frozen=True)
class BPT(Method):
    """Prompts ``A @ B.T`` before the first block or before each: A is (P, `rank`), B (D, `rank`).

    The product has at most `rank` independent rows: from min(P, D) on it is any P prompts. As deep
    prompts are registered, with as many ranks as prompts, it learns more numbers than it makes.

    In the released code (https://github.com/WangYZ1608/BPT) B is a 1 × 1 convolution of the prompts
    as a square map, which changes nothing but refuses every P that is no square: its README's and
    scripts' 50 deep prompts among them. Here P is free. The variants that start B from a
    whitening matrix need statistics that are not released, and are not offered; released deep
    prompts always read them, so deep B starts here as shallow B does: uniform (Xavier).
    `pool_prompts` is that code's pooling with MAE.
    """

    prompts: int
    rank: int
    deep: bool
    pool_prompts: bool = False
    form: str = "keys_and_values"

    identity_at_start = False
    spatial_rule = "prompts stand after the prefix tokens"

    def __post_init__(self) -> None:
        require_prompt_count(self.prompts)
        require_size("BPT's rank", self.rank)
        require_prompt_form(self.form)

    def attach(self, model: VisionTransformer) -> None:
        prompt_position(model)  # raises `Unsupported` where there are no tokens
        widths = token_widths(model) if self.deep else [model.embed_dim]
        left = [0.02 * torch.randn(self.prompts, self.rank) for _ in widths]
        right = [self._right_factor(width) for width in widths]
        if self.deep:
            add_deep_prompts(model, left, self.form, self.pool_prompts, projects=right)
        else:
            add_shallow_prompts(model, left[0], self.pool_prompts, project=right[0])

    def _right_factor(self, width: int) -> nn.Module:
        right = nn.Linear(self.rank, width, bias=False)
        nn.init.xavier_uniform_(right.weight)
        return right


register("bpt_shallow", BPT(prompts=100, rank=75, deep=False))
register("bpt_deep", BPT(prompts=50, rank=50, deep=True))
