"""Linear centred kernel alignment, CKA (Kornblith et al., 2019), with the unbiased HSIC.

Prompts, (P, D), and tokens, (N, D), have no examples in common but their channels: P is not N, and
a deep prompt does not depend on the images. To compare the two, the examples are therefore the D
channels, and each prompt or token is a feature of them (`channel_kernel`). The SPT paper (appendix
B.4) names the measure and leaves this open.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

ROUNDING_TOLERANCE = 1e-13  # relative to a kernel's norm
MIN_EXAMPLES = 4  # of the unbiased estimator


def channel_kernel(tokens: Tensor) -> Tensor:
    """Return the linear kernel of the channels of `tokens`, (..., D), in float64: (D, D)."""
    channels = tokens.reshape(-1, tokens.shape[-1]).T.double()
    return channels @ channels.mT


def pairwise_cka(ones: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """Return the CKA of each of the kernels `ones` with each of `others`, (n, n): (ones, others).

    CKA is the cosine of the angle between two centred kernels, so each is centred once. It is 1 for
    a kernel with itself, about 0 for independent features, and may be negative. Orthogonal maps of
    the features, a factor, an added constant and a common order of the examples do not change it.
    Raises `ValueError` for fewer than 4 examples or if all examples of a kernel are alike.
    """
    return _unit_kernels(ones) @ _unit_kernels(others).T


def u_centred(kernel: Tensor) -> Tensor:
    """U-centre a kernel, (..., n, n): inner products then estimate HSIC without bias.

    Song et al. (2012), equation 5, in the form of Székely and Rizzo (2014), equation 3.1: an
    example is never paired with itself.
    """
    n = kernel.shape[-1]
    diagonal = torch.eye(n, dtype=torch.bool, device=kernel.device)
    kernel = kernel.masked_fill(diagonal, 0)
    rows = kernel.sum(-1, keepdim=True) / (n - 2)
    total = rows.sum(-2, keepdim=True) / (n - 1)
    return (kernel - rows - rows.mT + total).masked_fill(diagonal, 0)


def _unit_kernels(kernels: Sequence[Tensor]) -> Tensor:
    """Return the centred kernels as unit vectors, (kernels, n * n)."""
    flat = torch.stack([_centre(kernel).flatten() for kernel in kernels])
    lengths = flat.norm(dim=1, keepdim=True)
    if (lengths == 0).any():
        raise ValueError("CKA needs examples that differ; in one view they are all alike")
    return flat / lengths


def _centre(kernel: Tensor) -> Tensor:
    """Return the centred kernel; all zeros if only rounding errors are left."""
    n, norm = kernel.shape[-1], torch.linalg.matrix_norm
    if n < MIN_EXAMPLES:
        raise ValueError(f"unbiased HSIC needs at least {MIN_EXAMPLES} examples; {n} were given")
    centred = u_centred(kernel)
    nonzero = norm(centred, keepdim=True) > ROUNDING_TOLERANCE * norm(kernel, keepdim=True)
    return torch.where(nonzero | centred.isnan(), centred, 0)
