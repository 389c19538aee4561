"""FacT: one factorised update of all weights (Jie and Deng, 2023), https://arxiv.org/abs/2212.03145."""

from dataclasses import dataclass
from functools import partial

import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.shared.backbone import replace_layers, require_layers, with_weights
from methods.shared.base import Method, Unsupported
from methods.shared.block_layers import attention_layers, feedforward_layers, linear_layers
from methods.shared.hyperparameters import require_choice, require_dropout_rate, require_size
from methods.shared.registry import register
from methods.shared.stages import require_one_stage
from methods.shared.structure import blocks_of


class Factors(nn.Module):
    """Factors shared by all layers: U, (r, D), V, (D, r), zero at first, and Tucker's core."""

    def __init__(self, dim: int, rank: int, cored: bool):
        super().__init__()
        self.u = nn.Parameter(torch.empty(rank, dim))
        self.v = nn.Parameter(torch.zeros(dim, rank))
        self.core = nn.Parameter(torch.empty(rank, rank, rank)) if cored else None
        nn.init.kaiming_uniform_(self.u, a=5**0.5)
        if self.core is not None:
            nn.init.xavier_uniform_(self.core)


class TensorTrain(nn.Module):
    """Middle factors of a layer's tiles: one r × r matrix per tile."""

    def __init__(self, rank: int, tiles: int, outputs: int, inputs: int):
        super().__init__()
        self.sigma = nn.Parameter(torch.empty(outputs * rank, inputs * rank))
        nn.init.kaiming_uniform_(self.sigma, a=5**0.5)

    def forward(self, core: None) -> Tensor:
        return self.sigma  # (outputs · r, inputs · r)


class Tucker(nn.Module):
    """Middle factors of a layer's tiles: mixtures of the r slices of the shared core."""

    def __init__(self, rank: int, tiles: int, outputs: int, inputs: int):
        super().__init__()
        bound = (6 / (rank + tiles)) ** 0.5  # Xavier's for the mixtures of all tiles together
        self.mixtures = nn.Parameter(torch.empty(outputs, inputs, rank).uniform_(-bound, bound))

    def forward(self, core: Tensor) -> Tensor:
        sigma = torch.einsum("abk,oik->oaib", core, self.mixtures)
        return sigma.flatten(2).flatten(0, 1)  # (outputs · r, inputs · r)


class InterleavedTucker(Tucker):
    """Middle factors of an MLP layer, as released: its tiles interleave rows of all mixtures.

    Row a of mixture i becomes row a · n + i of one (n · r, r) matrix, n being the number of
    mixtures, which is then cut into n squares, the tiles. The second layer takes the transpose.
    See `fact_forward_mlp` in https://github.com/JieShibo/PETL-ViT/blob/026e4f1/FacT/fact_tk.py.
    """

    def forward(self, core: Tensor) -> Tensor:
        mixed = torch.einsum("abk,ik->aib", core, self.mixtures.flatten(0, 1))
        dealt = mixed.flatten(0, 1)  # (n · r, r)
        widens = self.mixtures.shape[1] == 1
        return dealt if widens else dealt.T  # (outputs · r, inputs · r)


MiddleFactors = TensorTrain | Tucker

FORMS: dict[str, tuple[type[MiddleFactors], type[MiddleFactors]]] = {
    "tensor_train": (TensorTrain, TensorTrain),
    "tucker": (Tucker, Tucker),
    "tucker_interleaved": (Tucker, InterleavedTucker),
}
"""Middle factors of the attention layers and of the MLP layers."""


class FacTLinear(nn.Module):
    """`linear`, with ``scale * V sigma U`` added to each D × D tile of its weight."""

    linear_in_scale = True

    def __init__(
        self,
        linear: nn.Linear,
        shared: Factors,
        middle: MiddleFactors,
        scale: float,
        dropout: float,
    ):
        super().__init__()
        self.linear, self.middle, self.scale = linear, middle, scale
        self.dropout = nn.Dropout(dropout)
        self.shared = (shared,)  # in a tuple, so that a checkpoint does not hold it once per layer

    def forward(self, x: Tensor) -> Tensor:
        shared, sigma = self.shared[0], self._sigma()
        rank, dim = shared.u.shape
        low = (x.unflatten(-1, (-1, dim)) @ shared.u.T).flatten(-2)  # (B, N, inputs · r)
        low = self.dropout(low @ sigma.T)  # (B, N, outputs · r)
        update = (low.unflatten(-1, (-1, rank)) @ shared.v.T).flatten(-2)  # (B, N, outputs · D)
        return self.linear(x) + self.scale * update

    def merged(self) -> nn.Linear:
        """Return an equivalent linear layer, without dropout."""
        shared, sigma = self.shared[0], self._sigma()
        rank = len(shared.u)
        sigma = sigma.unflatten(1, (-1, rank)).unflatten(0, (-1, rank))  # (outputs, r, inputs, r)
        update = torch.einsum("da,oaib,be->odie", shared.v, sigma, shared.u)
        weight = self.linear.weight + self.scale * update.reshape(self.linear.weight.shape)
        return with_weights(self.linear, weight, self.linear.bias)

    def _sigma(self) -> Tensor:
        return self.middle(self.shared[0].core)


@dataclass(frozen=True)
class FacT(Method):
    """One update of all linear layers, cut into D × D tiles, in tensor-train or Tucker form.

    ``tucker`` is the paper's formula: each tile has its own mixture. ``tucker_interleaved``, the
    form of `fact_tk`, follows the released code, in which the tiles of an MLP layer share their
    mixtures (`InterleavedTucker`). The paper searches `scale` per task.
    """

    rank: int
    form: str
    scale: float = 1.0
    dropout: float = 0.1

    def __post_init__(self) -> None:
        require_size("FacT's rank", self.rank)
        require_choice("FacT's form", self.form, FORMS)
        require_dropout_rate("FacT's dropout", self.dropout)

    def attach(self, model: VisionTransformer) -> None:
        require_one_stage(model)
        require_layers(model, nn.Linear, linear_layers)
        tiles, dim = _count_tiles(model), model.embed_dim
        of_attention, of_mlp = FORMS[self.form]
        shared = Factors(dim, self.rank, cored=issubclass(of_attention, Tucker))

        def adapted(linear: nn.Linear, middle: type[MiddleFactors]) -> FacTLinear:
            shape = linear.out_features // dim, linear.in_features // dim
            sigma = middle(self.rank, tiles, *shape)
            return FacTLinear(linear, shared, sigma, self.scale, self.dropout)

        replace_layers(model, attention_layers, partial(adapted, middle=of_attention))
        replace_layers(model, feedforward_layers, partial(adapted, middle=of_mlp))
        first = blocks_of(model)[0]
        one = first.get_submodule(linear_layers(first)[0])
        one.factors = shared  # so that the backbone holds the shared factors


def _count_tiles(model: VisionTransformer) -> int:
    """Count the D × D tiles of all weights; raise `Unsupported` if a weight cannot be cut."""
    dim = model.embed_dim
    blocks = blocks_of(model)
    shapes = [
        block.get_submodule(name).weight.shape for block in blocks for name in linear_layers(block)
    ]
    for height, width in shapes:
        if height % dim or width % dim:
            raise Unsupported(
                f"FacT cuts weights into {dim} × {dim} tiles; {height} × {width} is no such weight"
            )
    return sum(height * width for height, width in shapes) // dim**2


register("fact_tt", FacT(rank=16, form="tensor_train"))
register("fact_tk", FacT(rank=32, form="tucker_interleaved"))
