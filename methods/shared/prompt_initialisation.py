"""Strategies of self-prompt tuning: how prompts are made from patch tokens of training images.

A strategy maps the tokens of the images, (B, N, D), to the prompts, (count, D).
Source: Wang et al., 2024, sections 3.3 and 3.4, https://arxiv.org/abs/2402.02382.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from methods.shared.kmeans import cluster_centres
from methods.shared.patch_tokens import allocate

LAYERS = ("own", "first", "last")
WINDOWS = ("batch", "image")


def random_tokens(tokens: Tensor, count: int, windows: str) -> Tensor:
    """Draw tokens uniformly, without replacement."""
    return _sample_rows(tokens.flatten(0, 1), count)


def window_means(tokens: Tensor, count: int, windows: str) -> Tensor:
    """Average windows of consecutive tokens."""
    return _pool(tokens, count, windows, lambda window: window.mean(-2))


def window_maxima(tokens: Tensor, count: int, windows: str) -> Tensor:
    """Max-pool windows of consecutive tokens, per channel."""
    return _pool(tokens, count, windows, lambda window: window.amax(-2))


def gaussian_samples(tokens: Tensor, count: int, windows: str) -> Tensor:
    """Sample from the normal distribution with the tokens' mean and covariance.

    A sum of all centred tokens with independent normal weights has exactly this covariance, which
    therefore need not be computed; subtracting the mean of the weights centres the tokens.
    """
    flat = tokens.flatten(0, 1)
    _require_enough(len(flat), count)
    weights = _standard_normal(count, len(flat), flat)
    weights -= weights.mean(1, keepdim=True)
    return flat.mean(0) + weights @ flat / len(flat) ** 0.5


def diagonal_gaussian_samples(tokens: Tensor, count: int, windows: str) -> Tensor:
    """Sample each channel from a normal distribution with that channel's mean and variance."""
    flat = tokens.flatten(0, 1)
    _require_enough(len(flat), count)
    return flat.mean(0) + _standard_normal(count, flat.shape[1], flat) * flat.std(0, correction=0)


def kmeans_centres(tokens: Tensor, count: int, windows: str = "batch") -> Tensor:
    """Compute `count` cluster centres with k-means (equations 9 and 10)."""
    flat = tokens.flatten(0, 1)
    _require_enough(len(flat), count)
    return cluster_centres(flat, count)


def subsample(tokens: Tensor, count: int) -> Tensor:
    """Draw `count` tokens without replacement, as one image's, (1, count, D); all if fewer."""
    flat = tokens.flatten(0, 1)
    return flat[torch.randperm(len(flat))[:count].to(flat.device)][None]


def bootstrap_fn() -> Callable[[Tensor], Tensor]:
    """Return a function that resamples images with replacement, the same ones for every layer.

    It maps the tokens of images, (B, N, D), to those of as many drawn images.
    """
    seed = int(torch.randint(2**62, ()))

    def redrawn(tokens: Tensor) -> Tensor:
        drawn = torch.Generator().manual_seed(seed)
        images = torch.randint(len(tokens), tokens.shape[:1], generator=drawn)
        place = allocate(tokens.shape, tokens.dtype, tokens.device)
        return torch.index_select(tokens, 0, images.to(tokens.device), out=place)

    return redrawn


STRATEGIES: dict[str, Callable[[Tensor, int, str], Tensor]] = {
    "random": random_tokens,
    "mean": window_means,
    "max": window_maxima,
    "kmeans": kmeans_centres,
    "gaussian": gaussian_samples,
    "diagonal": diagonal_gaussian_samples,
}
SAMPLED = ("random", "mean", "max", "gaussian", "diagonal")


def _pool(tokens: Tensor, count: int, windows: str, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    pool = _pool_batch if windows == "batch" else _pool_images
    return pool(tokens, count, reduce)


def _pool_batch(tokens: Tensor, count: int, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """Pool `count` windows of floor(N_e B / N_p) tokens of the whole batch; drop the remainder."""
    flat = tokens.flatten(0, 1)  # (B N, D)
    _require_enough(len(flat), count)
    size = len(flat) // count
    return reduce(flat[: size * count].unflatten(0, (count, size)))


def _pool_images(tokens: Tensor, count: int, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """As released: pool `count` - 1 strips per image and one of the rest; draw `count` of them all.

    If the strips leave no rest, the released slice ``[-0:]`` takes the whole image; so does this.
    """
    patches = tokens.shape[1]
    if not 2 <= count <= patches + 1:
        raise ValueError(
            f"strips inside an image allow 2 to {patches + 1} prompts; {count} were given"
        )
    size = patches // (count - 1)
    strips = reduce(tokens[:, : size * (count - 1)].unflatten(1, (count - 1, size)))
    rest = reduce(tokens[:, -(patches % size) :])[:, None]  # (B, 1, D)
    return _sample_rows(torch.cat([strips, rest], 1).flatten(0, 1), count)


def _sample_rows(candidates: Tensor, count: int) -> Tensor:
    _require_enough(len(candidates), count)
    return candidates[torch.randperm(len(candidates))[:count].to(candidates.device)]


def _standard_normal(rows: int, columns: int, like: Tensor) -> Tensor:
    """Draw standard normal numbers, (rows, columns), that are the same on every device."""
    return torch.randn(rows, columns, dtype=like.dtype).to(like.device)


def _require_enough(available: int, count: int) -> None:
    if available < count:
        raise ValueError(f"{count} prompts need as many tokens; these images have {available}")
