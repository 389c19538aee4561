"""Linear centred kernel alignment, CKA (Kornblith et al., 2019), of two views of the same examples.

Prompts, (P, D), and tokens, (N, D), share no examples but their channels: as many images as one
likes leave a deep prompt what it is, and P is not N. So where prompts are compared with tokens, the
examples are the D channels, and each prompt or token is a feature of them (`of_channels`). The SPT
paper (appendix B.4) names the measure and leaves this open.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.utils.errors import unknown_name

ROUNDING_TOLERANCE = 1e-13  # of a kernel's length


@dataclass(frozen=True)
class HSICEstimator:
    """A way to estimate HSIC: the inner product of two centred kernels over so many `pairs`."""

    centre: Callable[[Tensor], Tensor]
    pair_count: Callable[[int], int]
    min_examples: int  # examples


def doubly_centred(kernel: Tensor) -> Tensor:
    """H K H with H = I - 1 / n, of (..., n, n) (Gretton et al., 2005)."""
    rows = kernel.mean(-1, keepdim=True)
    return kernel - rows - rows.mT + rows.mean(-2, keepdim=True)


def u_centred(kernel: Tensor) -> Tensor:
    """What makes inner products of kernels, (..., n, n), estimate HSIC without bias.

    Song et al. (2012), equation 5, in the form of Székely and Rizzo (2014), equation 3.1: an
    example is never paired with itself.
    """
    n = kernel.shape[-1]
    alone = torch.eye(n, dtype=torch.bool, device=kernel.device)
    kernel = kernel.masked_fill(alone, 0)
    rows = kernel.sum(-1, keepdim=True) / (n - 2)
    total = rows.sum(-2, keepdim=True) / (n - 1)
    return (kernel - rows - rows.mT + total).masked_fill(alone, 0)


ESTIMATORS = {
    "unbiased": HSICEstimator(u_centred, lambda n: n * (n - 3), min_examples=4),
    "biased": HSICEstimator(doubly_centred, lambda n: (n - 1) ** 2, min_examples=2),
}


def get_estimator(name: str) -> HSICEstimator:
    """Raises `UserError` for an unknown name."""
    if name not in ESTIMATORS:
        raise unknown_name("estimator of HSIC", name, ESTIMATORS)
    return ESTIMATORS[name]


def linear_kernel(features: Tensor) -> Tensor:
    """The linear kernel of `features`, (..., n, d), in float64: (..., n, n)."""
    wide = features.double()
    return wide @ wide.mT


def channel_kernel(tokens: Tensor) -> Tensor:
    """The linear kernel of the channels of all `tokens`, (..., D), in float64: (D, D)."""
    return linear_kernel(tokens.reshape(-1, tokens.shape[-1]).T)


def hsic(one: Tensor, other: Tensor, estimator: str = "unbiased") -> Tensor:
    """The Hilbert-Schmidt independence criterion of two kernels, (..., n, n): (...).

    Raises `ValueError` for too few examples: 4 unbiased, 2 biased.
    """
    n, chosen = one.shape[-1], get_estimator(estimator)
    return (_centre(one, estimator) * _centre(other, estimator)).sum((-1, -2)) / chosen.pair_count(
        n
    )


def linear_cka(one: Tensor, other: Tensor, estimator: str = "unbiased") -> float:
    """CKA of two views, (n, d) and (n, e), of the same n examples; in float64.

    It stays what it is when an orthogonal map turns the features of either or a factor scales
    them, when a constant is added to a feature, and in any common order of the examples. 1 for a
    view and itself. Biased it is in 0 ... 1, and near 1 for views of many more features than
    examples, whatever they are; unbiased it is about 0 for independent views, and may be below.
    Raises `ValueError` for too few examples and for a view in which all examples are alike.
    """
    return pairwise_cka([linear_kernel(one)], [linear_kernel(other)], estimator).item()


def pairwise_cka(
    ones: Sequence[Tensor], others: Sequence[Tensor], estimator: str = "unbiased"
) -> Tensor:
    """CKA of each of the kernels `ones` with each of `others`, (n, n) each: (ones, others).

    CKA is the cosine of the angle between two centred kernels, so each is centred once.
    """
    return _unit_kernels(ones, estimator) @ _unit_kernels(others, estimator).T


def _unit_kernels(kernels: Sequence[Tensor], estimator: str) -> Tensor:
    flat = torch.stack([_centre(kernel, estimator).flatten() for kernel in kernels])
    return flat / _require_nonzero(flat.norm(dim=1, keepdim=True))


def _centre(kernel: Tensor, estimator: str) -> Tensor:
    """The centred kernel; all 0 where no more than rounding is left of it."""
    n, chosen = kernel.shape[-1], get_estimator(estimator)
    if n < chosen.min_examples:
        raise ValueError(
            f"{estimator} HSIC needs at least {chosen.min_examples} examples; {n} were given"
        )
    centred, norm = chosen.centre(kernel), torch.linalg.matrix_norm
    left = norm(centred, keepdim=True) > ROUNDING_TOLERANCE * norm(kernel, keepdim=True)
    return torch.where(left | centred.isnan(), centred, 0)


def _require_nonzero(lengths: Tensor) -> Tensor:
    if (lengths == 0).any():
        raise ValueError("CKA needs examples that differ; in one view they are all alike")
    return lengths


class MinibatchCKA:
    """CKA of examples that come in batches and are not kept (Nguyen et al., 2021, equation 2).

    Each of its three HSICs is the mean over batches. Unbiased, that estimates the same number
    whatever the size of a batch; it is `alignment` itself when there is one batch.
    """

    def __init__(self, estimator: str = "unbiased"):
        self.estimator, self.batches = estimator, 0
        self._across = self._one = self._other = 0.0

    def add(self, one: Tensor, other: Tensor) -> None:
        """See some examples in both views, (n, d) and (n, e)."""
        k, m = linear_kernel(one), linear_kernel(other)
        self._across += hsic(k, m, self.estimator).item()
        self._one += hsic(k, k, self.estimator).item()
        self._other += hsic(m, m, self.estimator).item()
        self.batches += 1

    def value(self) -> float:
        """Raises `ValueError` before the first batch, and where all examples are alike."""
        if not self.batches:
            raise ValueError("CKA needs at least 1 batch; 0 were given")
        lengths = torch.tensor([self._one, self._other], dtype=torch.float64)
        return self._across / _require_nonzero(lengths).prod().sqrt().item()
