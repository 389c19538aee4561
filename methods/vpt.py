"""VPT: visual prompt tuning (Jia et al., 2022), https://arxiv.org/abs/2203.12119."""

from collections.abc import Iterator
from dataclasses import dataclass

from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.shared.base import Method
from methods.shared.hyperparameters import later_field, require_size
from methods.shared.prompts import (
    add_deep_prompts,
    add_shallow_prompts,
    prompts_of,
    require_prompt_count,
    require_prompt_form,
    uniform_prompts,
)
from methods.shared.registry import register
from methods.shared.stages import prompt_position, require_one_stage, token_widths


@dataclass(frozen=True)
class VPT(Method):
    """Prompts before the first block (equations 4 and 5) or before each (equations 6 and 7).

    With `frozen` they keep their initial values and only the head is trained. `pool_prompts` lets a
    head that averages tokens include the last block's outputs at the prompts, as the released code
    does with MAE. `projection` is the width of prompts that one linear map, trained with them,
    turns into tokens: the released code's option PROJECT.

    Where a backbone merges patches between its stages, as Swin does, prompts end: shallow ones are
    those of the first stage alone. The released code's shallow prompts pass each merging, in the
    place of four equal patches: `carry_prompts`. It also pools them (`pool_prompts`), and mixes
    those of different images, by an order of windows, which is not offered.
    """

    prompts: int
    deep: bool
    frozen: bool = False
    dropout: float = 0.0
    pool_prompts: bool = False
    projection: int | None = None
    form: str = "keys_and_values"
    carry_prompts: bool = later_field(False)

    identity_at_start = False
    spatial_rule = "prompts stand after the prefix tokens"

    def __post_init__(self) -> None:
        require_prompt_count(self.prompts)
        if self.projection is not None:
            require_size("projection", self.projection)
        require_prompt_form(self.form)
        if self.carry_prompts and self.deep:
            raise ValueError(
                "carry_prompts is for shallow prompts: deep ones are new in each block"
            )

    def attach(self, model: VisionTransformer) -> None:
        starts = list(self._initial_prompts(model))
        project = self._projection_layer(model.embed_dim)
        how = self.pool_prompts, self.dropout
        if self.deep:
            add_deep_prompts(model, starts, self.form, *how, [project] * len(starts))
        else:
            add_shallow_prompts(model, starts[0], *how, project, self.carry_prompts)
        for prompts in prompts_of(model):
            prompts.requires_grad_(not self.frozen)

    def _initial_prompts(self, model: VisionTransformer) -> Iterator[Tensor]:
        """Yield the initial prompts of the first block or of all, (P, D)."""
        prompt_position(model)  # raises `Unsupported` where there are no tokens
        if self.projection and self.deep:
            require_one_stage(model)
        for width in token_widths(model) if self.deep else [model.embed_dim]:
            yield uniform_prompts(
                model, self.prompts, self.projection or width, bool(self.projection)
            )

    def _projection_layer(self, width: int) -> nn.Module | None:
        """Create the map from prompts to tokens, which all blocks share."""
        if self.projection is None:
            return None
        project = nn.Linear(self.projection, width)
        nn.init.kaiming_normal_(project.weight, mode="fan_out")
        return project.requires_grad_(not self.frozen)


register("vpt_shallow", VPT(prompts=100, deep=False))
register("vpt_shallow_frozen", VPT(prompts=100, deep=False, frozen=True))
register("vpt_deep", VPT(prompts=20, deep=True))
register("vpt_deep_frozen", VPT(prompts=20, deep=True, frozen=True))
