"""Normalised mutual information of prompts and patch tokens (Wang et al., 2024, equations 7 and 8).

The joint distribution of prompt k and token j is proportional to sigmoid(p_k . e_j), of raw dot
products: neither scaled nor projected, as equation 7 is printed. Divided is by the mean of the two
entropies (equation 8), where the paper's reference for the measure (Estévez et al., 2009) takes
the smaller one. How the values of many images become the one of a figure, the paper does not say;
both readings are here.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

ROUNDING_TOLERANCE = 1e-12  # nats: an entropy that is no larger is none


@dataclass(frozen=True)
class EntropySums:
    """What the measure needs of a table of weights, prompts by tokens, before they are normalised.

    Entropy terms are -x log x of weights as they are, whatever their total: so those of tables
    whose tokens stand side by side add up.
    """

    rows: Tensor  # (..., P), the weight of each prompt
    columns: Tensor  # (...), the entropy terms of each token's weight
    cells: Tensor  # (...), the entropy terms of each weight

    def pooled(self) -> "EntropySums":
        """The sums of all tables, (B, ...), as one table whose tokens stand side by side."""
        return EntropySums(self.rows.sum(0), self.columns.sum(0), self.cells.sum(0))

    def value(self) -> Tensor:
        """Equation 8 of each table, (...).

        Raises `ValueError` where it is 0 / 0: weights that are all 0, or one prompt and one token.
        """
        total = self.rows.sum(-1)
        if (total == 0).any():
            raise ValueError("no weights: sigmoid(p . e) is 0 for every prompt and token")
        of_prompts = _entropy(torch.special.entr(self.rows).sum(-1), total)
        of_tokens, of_both = _entropy(self.columns, total), _entropy(self.cells, total)
        if (of_prompts + of_tokens <= ROUNDING_TOLERANCE).any():
            raise ValueError("one prompt with one token has no entropy to share")
        return 2 * (of_prompts + of_tokens - of_both) / (of_prompts + of_tokens)


def _entropy(terms: Tensor, total: Tensor) -> Tensor:
    """The entropy in nats of weights x / total, from the sum of -x log x."""
    return terms / total + total.log()


def entropy_sums(prompts: Tensor, tokens: Tensor) -> EntropySums:
    """What equation 8 needs of prompts, (P, D), and the tokens of each image, (B, N, D)."""
    weights = (tokens.double() @ prompts.double().T).sigmoid()  # (B, N, P)
    columns = torch.special.entr(weights.sum(2)).sum(1)  # (B,)
    return EntropySums(weights.sum(1), columns, torch.special.entr(weights).sum((1, 2)))


def normalised_mutual_information(prompts: Tensor, tokens: Tensor) -> Tensor:
    """Equation 8 for prompts, (P, D), and the tokens of each image, (B, N, D): (B,), in 0 ... 1.

    In float64. It stays what it is in any order of prompts and of tokens, when one orthogonal map
    turns both, and when prompts and tokens change places. It is no measure of direction alone:
    it goes to 0 as either shrinks. 0 when all prompts, or all tokens, are the same; 1 when each
    prompt goes with one token, and no other weight is above 0. Raises `ValueError` for one prompt
    with one token.
    """
    return entropy_sums(prompts, tokens).value()


class RunningNMI:
    """Equation 8 over images that come in batches and are not kept."""

    def __init__(self, prompts: Tensor):
        """`prompts` are (P, D)."""
        self.prompts, self.images = prompts, 0
        self._values = prompts.new_zeros((), dtype=torch.float64)
        self._sums: EntropySums | None = None

    def add(self, tokens: Tensor) -> None:
        """See the tokens of some images, (B, N, D)."""
        new = entropy_sums(self.prompts, tokens)
        self._values = self._values + new.value().sum()
        self.images += len(tokens)
        self._sums = _add_sums(self._sums, new.pooled()) if self._sums else new.pooled()

    def value(self) -> float:
        """The mean over images of each image's value: N_e in equation 7 is an image's tokens."""
        if not self.images:
            raise ValueError("mutual information needs at least 1 image; 0 were given")
        return self._values.item() / self.images

    def pooled(self) -> float:
        """The value of one joint distribution over the tokens of all images.

        The same images twice are not the same value: the tokens' entropy grows by log 2.
        """
        if self._sums is None:
            raise ValueError("mutual information needs at least 1 image; 0 were given")
        return self._sums.value().item()


def _add_sums(one: EntropySums, other: EntropySums) -> EntropySums:
    return EntropySums(one.rows + other.rows, one.columns + other.columns, one.cells + other.cells)
