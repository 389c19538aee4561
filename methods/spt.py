"""SPT: self-prompt tuning (Wang et al., 2024), https://arxiv.org/abs/2402.02382.

VPT with prompts initialised from patch tokens of the training images. (Not to be confused with
*sensitivity-aware* tuning, which has the same abbreviation.)
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from math import ceil

import torch
from timm.models import VisionTransformer
from torch import Tensor

from methods.shared.base import Batches, Method
from methods.shared.patch_tokens import block_inputs
from methods.shared.prompt_initialisation import (
    LAYERS,
    SAMPLED,
    STRATEGIES,
    WINDOWS,
    bootstrap_fn,
    kmeans_centres,
    subsample,
)
from methods.shared.prompts import prompts_of, require_prompt_count, require_prompt_form
from methods.shared.registry import register
from methods.shared.structure import blocks_of, require_tokens
from methods.vpt import VPT


@dataclass(frozen=True)
class SPT(Method):
    """Prompts of block i, initialised from the patch tokens at the input of block i.

    The tokens are those of the pretrained backbone, without prompts. `strategy` selects among them
    (sections 3.3 and 3.4): ``random`` draws tokens without replacement, ``mean`` and ``max`` pool
    windows of consecutive tokens; `ClusteredSPT` is the fourth strategy. Two more are controls that
    are not in the paper: ``gaussian`` samples from the normal distribution with the tokens' mean
    and covariance, ``diagonal`` from the one with each channel's mean and variance. They use no
    token of any image, only statistics.
    `share` is the share of the training images to use, rounded up to whole batches; None is one
    batch, the paper's choice for the sampled strategies. `layers` is ``own`` or, as in Table S2,
    ``first`` (P0 for all blocks) or ``last`` (PL for all). Three fields reproduce where the
    released code differs: `windows` ``image`` pools strips inside each image and draws among them,
    `positions` False takes P0 before the position embedding, and `replacement` draws the images
    with replacement, as many as there are: a token of an image drawn twice may be drawn twice.
    That code's shallow prompts are ``random`` whatever the strategy.
    """

    prompts: int
    deep: bool
    strategy: str = "random"
    layers: str = "own"
    share: float | None = None
    windows: str = "batch"
    positions: bool = True
    replacement: bool = False
    frozen: bool = False
    pool_prompts: bool = False
    form: str = "keys_and_values"

    starts_from_images = True
    identity_at_start = False
    spatial_rule = "prompts, drawn from patches, stand after the prefix tokens"

    def __post_init__(self) -> None:
        require_prompt_count(self.prompts)
        require_prompt_form(self.form)
        for field, known in (("strategy", SAMPLED), ("layers", LAYERS), ("windows", WINDOWS)):
            if getattr(self, field) not in known:
                given = getattr(self, field)
                raise ValueError(f"no {field} {given!r}; there are {', '.join(known)}")
        if self.share is not None and not 0 < self.share <= 1:
            raise ValueError(f"share must lie above 0 and at most at 1; {self.share} was given")

    def attach(self, model: VisionTransformer) -> None:
        require_tokens(model)
        pooled, form = self.pool_prompts, self.form
        VPT(self.prompts, self.deep, self.frozen, pool_prompts=pooled, form=form).attach(model)

    def prepare(self, model: VisionTransformer, batches: Batches) -> None:
        choose = STRATEGIES[self.strategy]
        resample = bootstrap_fn() if self.replacement else _identity
        self.attach_initialised(
            model, batches, lambda tokens: choose(resample(tokens), self.prompts, self.windows)
        )

    @torch.no_grad()
    def attach_initialised(
        self, model: VisionTransformer, batches: Batches, choose: Callable[[Tensor], Tensor]
    ) -> None:
        """Attach prompts, (prompts, D), that `choose` makes from a layer's tokens, (B, N, D)."""
        depth = len(blocks_of(model))
        count = depth if self.deep else 1
        wanted = {"own": set(range(count)), "first": {0}, "last": {depth}}[self.layers]
        shown = 1 if self.share is None else ceil(self.share * len(batches))  # type: ignore[arg-type]
        chosen = initial_prompts(model, batches, choose, wanted, shown, self.positions)
        self.attach(model)
        starts = chosen if self.layers == "own" else chosen * count
        for prompts, start in zip(prompts_of(model), starts, strict=True):
            prompts.copy_(start)


def _identity(tokens: Tensor) -> Tensor:
    return tokens


def initial_prompts(
    model: VisionTransformer,
    batches: Batches,
    choose: Callable[[Tensor], Tensor],
    wanted: set[int],
    shown: int = 1,
    positions: bool = True,
) -> list[Tensor]:
    """Apply `choose` to the tokens, (B, N, D), at the input of each of the `wanted` blocks.

    The tokens are those of the first `shown` batches in the pretrained backbone.
    """
    images = (images for images, _ in islice(batches, shown))
    layers = block_inputs(model, images, shown, max(wanted), positions)
    return [choose(tokens) for i, tokens in layers if i in wanted]


@dataclass(frozen=True)
class ClusteredSPT(Method):
    """`SPT` with k-means: the prompts are the centres of as many clusters of a layer's tokens.

    `tokens` is the number of tokens to cluster, drawn for each layer; None is all of them.
    """

    prompts: int
    deep: bool
    share: float | None = 1.0
    tokens: int | None = None
    layers: str = "own"
    positions: bool = True
    frozen: bool = False
    pool_prompts: bool = False
    form: str = "keys_and_values"

    starts_from_images = True
    identity_at_start = False
    spatial_rule = "prompts, drawn from patches, stand after the prefix tokens"

    def __post_init__(self) -> None:
        self._spt()
        if self.tokens is not None and self.tokens < self.prompts:
            raise ValueError(f"{self.prompts} prompts need as many tokens; {self.tokens} was given")

    def attach(self, model: VisionTransformer) -> None:
        self._spt().attach(model)

    def prepare(self, model: VisionTransformer, batches: Batches) -> None:
        self._spt().attach_initialised(model, batches, self._cluster_centres)

    def _cluster_centres(self, tokens: Tensor) -> Tensor:
        return kmeans_centres(
            tokens if self.tokens is None else subsample(tokens, self.tokens), self.prompts
        )

    def _spt(self) -> SPT:
        """The same method with another strategy."""
        return SPT(
            self.prompts,
            self.deep,
            layers=self.layers,
            share=self.share,
            positions=self.positions,
            frozen=self.frozen,
            pool_prompts=self.pool_prompts,
            form=self.form,
        )


def _variants(deep: bool, prompts: int) -> dict[str, Method]:
    return {
        "": SPT(prompts, deep),
        "_mean": SPT(prompts, deep, "mean"),
        "_max": SPT(prompts, deep, "max"),
        "_kmeans": ClusteredSPT(prompts, deep),
        "_last": SPT(prompts, deep, layers="last"),
        "_frozen": SPT(prompts, deep, frozen=True),
    }


for _suffix, _method in _variants(deep=True, prompts=20).items():
    register(f"spt_deep{_suffix}", _method)
for _suffix, _method in _variants(deep=False, prompts=100).items():
    register(f"spt_shallow{_suffix}", _method)
# For deep prompts only: shallow prompts from the first layer are spt_shallow itself (Table S2).
register("spt_deep_first", SPT(prompts=20, deep=True, layers="first"))
# Controls that use only statistics of the tokens; more are in `methods.spt_controls`.
register("spt_deep_gaussian", SPT(prompts=20, deep=True, strategy="gaussian"))
register("spt_deep_diagonal", SPT(prompts=20, deep=True, strategy="diagonal"))
# Table 4(a): each strategy's prompts frozen; only the head is trained.
register("spt_deep_mean_frozen", SPT(20, True, "mean", frozen=True))
register("spt_deep_max_frozen", SPT(20, True, "max", frozen=True))
register("spt_deep_kmeans_frozen", ClusteredSPT(20, True, frozen=True))
