"""Controls of self-prompt tuning (Wang et al., 2024), https://arxiv.org/abs/2402.02382.

The paper has none. Deep prompts are read only through a block's LayerNorm, unless the head averages
them. The logits are then the same for prompts P and c P, and the gradient at c P is that at P
divided by c. A step of gradient descent at rate r therefore moves c P as rate r / c^2 moves P, and
a step of Adam, which ignores the gradient's size, as rate r / c does. Sampled tokens differ from
VPT's random prompts in direction and in size, and a gain from size is a gain from the learning
rate. Each control keeps one property of the tokens, to show which one yields the gain.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from timm.models import VisionTransformer
from torch import Tensor

from methods.shared.base import Batches, Method
from methods.shared.prompt_initialisation import random_tokens
from methods.shared.prompts import prompts_of, require_prompt_count, require_prompt_form
from methods.shared.registry import register
from methods.shared.structure import blocks_of, require_tokens
from methods.spt import initial_prompts
from methods.vpt import VPT


def keep_sizes(sampled: Tensor, drawn: Tensor) -> Tensor:
    """Keep the tokens' sizes, with VPT's directions: the effect of the learning rate."""
    return rescale(drawn, sampled)


def keep_directions(sampled: Tensor, drawn: Tensor) -> Tensor:
    """Keep the tokens' directions, at the sizes of VPT's prompts: the effect at VPT's rate."""
    return rescale(sampled, drawn)


def shuffle_channels(sampled: Tensor, drawn: Tensor) -> Tensor:
    """Permute the channels of each token, in a different order for each.

    Size, mean and every other statistic of a token's values are kept; the meaning of a channel is
    lost. A single order for all tokens would keep their similarity to each other.
    """
    order = torch.rand(sampled.shape).argsort(1).to(sampled.device)
    return sampled.gather(1, order)


CONTROLS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sizes": keep_sizes,
    "directions": keep_directions,
    "values": shuffle_channels,
}


def rescale(prompts: Tensor, like: Tensor) -> Tensor:
    """Scale each of `prompts`, (P, D), to the size of its counterpart in `like`.

    Size is the standard deviation over channels, by which LayerNorm divides.
    """
    given, wanted = (one.std(1, correction=0, keepdim=True) for one in (prompts, like))
    return prompts * (wanted / given.clamp_min(torch.finfo(given.dtype).tiny))


@dataclass(frozen=True)
class Control(Method):
    """Deep prompts that keep one property of sampled tokens and take the rest from VPT's prompts.

    The tokens are those of ``spt_deep``, drawn from one batch; with the same seed, identical ones.
    """

    prompts: int
    kept: str
    dropout: float = 0.0  # set by the recipe vpt2022 for vpt_deep and its variants
    pool_prompts: bool = False
    form: str = "keys_and_values"

    starts_from_images = True
    identity_at_start = False
    spatial_rule = "prompts, drawn from patches, stand after the prefix tokens"

    def __post_init__(self) -> None:
        require_prompt_count(self.prompts)
        require_prompt_form(self.form)
        if self.kept not in CONTROLS:
            raise ValueError(
                f"nothing called {self.kept!r} is kept; there are {', '.join(CONTROLS)}"
            )

    def attach(self, model: VisionTransformer) -> None:
        require_tokens(model)
        pooled, form = self.pool_prompts, self.form
        vpt = VPT(self.prompts, True, dropout=self.dropout, pool_prompts=pooled, form=form)
        vpt.attach(model)

    @torch.no_grad()
    def prepare(self, model: VisionTransformer, batches: Batches) -> None:
        blocks = set(range(len(blocks_of(model))))
        tokens = initial_prompts(model, batches, self._sample_tokens, blocks)
        self.attach(model)
        for prompts, sampled in zip(prompts_of(model), tokens, strict=True):
            prompts.copy_(CONTROLS[self.kept](sampled, prompts.to(sampled.device)))

    def _sample_tokens(self, tokens: Tensor) -> Tensor:
        return random_tokens(tokens, self.prompts, "batch")


register("vpt_deep_scaled", Control(prompts=20, kept="sizes"))
register("spt_deep_unscaled", Control(prompts=20, kept="directions"))
register("spt_deep_shuffled", Control(prompts=20, kept="values"))
