"""VFPT: visual Fourier prompt tuning (Zeng et al., 2024), https://arxiv.org/abs/2411.01327.

As in the released code (https://github.com/runtsang/VFPT), the transform is not normalised: it
makes entries larger by about sqrt(F D / 2).
"""

from dataclasses import dataclass
from math import floor

import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.shared.base import Method
from methods.shared.hyperparameters import require_dropout_rate
from methods.shared.prompts import (
    add_deep_prompts,
    require_prompt_count,
    require_prompt_form,
    uniform_prompts,
)
from methods.shared.registry import register
from methods.shared.stages import prompt_position, token_widths


class FourierTransform(nn.Module):
    """The real part of the first `count` prompts' Fourier transform over channels and prompts.

    The other prompts neither change nor take part.
    """

    def __init__(self, count: int):
        super().__init__()
        self.count = count

    def forward(self, prompts: Tensor) -> Tensor:
        if not self.count:
            return prompts
        first, others = prompts[..., : self.count, :], prompts[..., self.count :, :]
        spectrum = torch.fft.fft(torch.fft.fft(first, dim=-1), dim=-2)  # (..., F, D)
        return torch.cat([spectrum.real, others], -2)  # (..., P, D)


@dataclass(frozen=True)
class VFPT(Method):
    """`VPT`'s deep prompts, of which the first floor(`alpha` P) are seen as their transform.

    The transform, the real part of FFT over prompts of FFT over channels, follows the dropout and
    adds no parameters. With `alpha` 0 the method is `vpt_deep`. The paper chooses `alpha` among 0,
    0.3, 0.5, 0.7 and 1 for each task, and dropout of 0.1. Other places of the transformed prompts,
    which the released code can draw, and transforms of one kind alone are not offered.
    """

    prompts: int = 20
    alpha: float = 0.5
    dropout: float = 0.0
    pool_prompts: bool = False
    form: str = "keys_and_values"

    identity_at_start = False
    spatial_rule = "prompts stand after the prefix tokens"

    def __post_init__(self) -> None:
        require_prompt_count(self.prompts)
        require_prompt_form(self.form)
        require_dropout_rate("VFPT's dropout", self.dropout)
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be at least 0 and at most 1; {self.alpha} was given")

    def attach(self, model: VisionTransformer) -> None:
        prompt_position(model)  # raises `Unsupported` where there are no tokens
        starts = [uniform_prompts(model, self.prompts, width) for width in token_widths(model)]
        transform = FourierTransform(floor(self.prompts * self.alpha))
        how = self.form, self.pool_prompts, self.dropout
        add_deep_prompts(model, starts, *how, transform=transform)


register("vfpt", VFPT())
