"""Normalised mutual information of prompts and patch tokens (Wang et al., 2024, equations 7 and 8).

The joint distribution of prompt k and token j is proportional to sigmoid(p_k . e_j), of raw dot
products: neither scaled nor projected, as equation 7 is printed. The normaliser is the mean of the
two entropies (equation 8); the paper's reference for the measure (Estévez et al., 2009) uses the
smaller one. The paper does not say how the values of many images become the one of a figure;
`RunningNMI` has both readings.

The value is in 0 ... 1: 0 if all prompts, or all tokens, are the same; 1 if each prompt goes with
one token, and every other weight is 0. It is invariant to the order of prompts and of tokens, to an
orthogonal map of both, and to an exchange of the two. It does not measure direction alone: it goes
to 0 as either shrinks.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

ROUNDING_TOLERANCE = 1e-12  # nats: a smaller entropy is 0


@dataclass(frozen=True)
class EntropySums:
    """Sums over a table of unnormalised weights, prompts by tokens, from which NMI is computed.

    Entropy terms are -x log x of the unnormalised weights, so those of tables that are joined along
    the tokens add up.
    """

    rows: Tensor  # (..., P), each prompt's weight
    columns: Tensor  # (...), sum of the entropy terms of each token's weight
    cells: Tensor  # (...), sum of the entropy terms of each weight

    def pooled(self) -> "EntropySums":
        """Return the sums of one table: all tables, (B, ...), joined along the tokens."""
        return EntropySums(self.rows.sum(0), self.columns.sum(0), self.cells.sum(0))

    def value(self) -> Tensor:
        """Return equation 8 of each table, (...).

        Raises `ValueError` if it is 0 / 0: weights that are all 0, or one prompt and one token.
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
    """Return the entropy in nats of the weights x / total, from the sum of -x log x."""
    return terms / total + total.log()


def entropy_sums(prompts: Tensor, tokens: Tensor) -> EntropySums:
    """Return the sums for prompts, (P, D), and each image's tokens, (B, N, D), in float64."""
    weights = (tokens.double() @ prompts.double().T).sigmoid()  # (B, N, P)
    columns = torch.special.entr(weights.sum(2)).sum(1)  # (B,)
    return EntropySums(weights.sum(1), columns, torch.special.entr(weights).sum((1, 2)))


class RunningNMI:
    """NMI over images that come in batches and are not stored."""

    def __init__(self, prompts: Tensor):
        """`prompts` are (P, D)."""
        self.prompts, self.images = prompts, 0
        self._values = prompts.new_zeros((), dtype=torch.float64)
        self._sums: EntropySums | None = None

    def add(self, tokens: Tensor) -> None:
        """Add the tokens of some images, (B, N, D)."""
        new = entropy_sums(self.prompts, tokens)
        self._values = self._values + new.value().sum()
        self.images += len(tokens)
        self._sums = _add_sums(self._sums, new.pooled()) if self._sums else new.pooled()

    def value(self) -> float:
        """Return the mean of each image's value: N_e in equation 7 counts one image's tokens."""
        if not self.images:
            raise ValueError("mutual information needs at least 1 image; 0 were given")
        return self._values.item() / self.images

    def pooled(self) -> float:
        """Return the value of one joint distribution over the tokens of all images.

        Repeating the images changes it: the tokens' entropy grows by log 2.
        """
        if self._sums is None:
            raise ValueError("mutual information needs at least 1 image; 0 were given")
        return self._sums.value().item()


def _add_sums(one: EntropySums, other: EntropySums) -> EntropySums:
    return EntropySums(one.rows + other.rows, one.columns + other.columns, one.cells + other.cells)
