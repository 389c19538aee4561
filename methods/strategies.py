"""How self-prompt tuning chooses prompts among the patch tokens of training images.

A strategy gets the tokens of all chosen images, (B, N, D), and gives the prompts, (count, D).
Source: Wang et al., 2024, sections 3.3 and 3.4, https://arxiv.org/abs/2402.02382.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
from timm.models import VisionTransformer
from torch import Tensor

from methods.surgery import embed

LAYERS = ("own", "first", "last")
WINDOWS = ("batch", "image")


def block_inputs(
    model: VisionTransformer, batches: Iterable[Tensor], last: int, positions: bool = True
) -> Iterator[tuple[int, Tensor]]:
    """(i, the patch tokens at the input of block i), (B, N, D), for i = 0 ... `last`.

    Block L's "input", L being the number of blocks, is the output of the last block. One forward
    pass in all; the tokens of one layer at a time are kept. Without `positions` the first layer's
    tokens come from before the position embedding.
    """
    was_training, first = model.training, model.num_prefix_tokens
    model.eval()
    batches = list(batches)
    states = [embed(model, images) for images in batches]
    for i in range(last + 1):
        if i == 0 and not positions:
            bare = [model.patch_embed(images).flatten(1, -2) for images in batches]
            yield 0, torch.cat(bare)
        else:
            yield i, torch.cat([state[:, first:] for state in states])
        if i < last:
            states = [model.blocks[i](state) for state in states]
    model.train(was_training)


def random(tokens: Tensor, count: int, _windows: str) -> Tensor:
    """Tokens drawn uniformly without replacement."""
    return _draw(tokens.flatten(0, 1), count)


def mean(tokens: Tensor, count: int, windows: str) -> Tensor:
    """Means over windows of consecutive tokens."""
    return _pool(tokens, count, windows, lambda window: window.mean(-2))


def largest(tokens: Tensor, count: int, windows: str) -> Tensor:
    """Maxima, channel by channel, over windows of consecutive tokens."""
    return _pool(tokens, count, windows, lambda window: window.amax(-2))


def kmeans(tokens: Tensor, count: int, _windows: str) -> Tensor:
    """The centres of `count` clusters (equations 9 and 10)."""
    from sklearn.cluster import KMeans  # slow to import, and only this strategy needs it

    flat = tokens.flatten(0, 1)
    _require_enough(len(flat), count)
    seed = int(torch.randint(2**31, ()))
    found = KMeans(count, n_init=1, random_state=seed).fit(flat.cpu().numpy())
    return torch.as_tensor(found.cluster_centers_, dtype=tokens.dtype, device=tokens.device)


STRATEGIES: dict[str, Callable[[Tensor, int, str], Tensor]] = {
    "random": random,
    "mean": mean,
    "max": largest,
    "kmeans": kmeans,
}


def _pool(tokens: Tensor, count: int, windows: str, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    pool = _pool_batch if windows == "batch" else _pool_images
    return pool(tokens, count, reduce)


def _pool_batch(tokens: Tensor, count: int, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """`count` windows of floor(N_e B / N_p) tokens of the whole batch; the rest is left out."""
    flat = tokens.flatten(0, 1)  # (B N, D)
    _require_enough(len(flat), count)
    size = len(flat) // count
    return reduce(flat[: size * count].unflatten(0, (count, size)))


def _pool_images(tokens: Tensor, count: int, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """As released: `count` - 1 strips an image and one of the rest; `count` of them at random.

    Where the strips leave no token, the released slice ``[-0:]`` takes the whole image: kept.
    """
    patches = tokens.shape[1]
    if not 2 <= count <= patches + 1:
        raise ValueError(
            f"strips inside an image allow 2 to {patches + 1} prompts; {count} were given"
        )
    size = patches // (count - 1)
    strips = reduce(tokens[:, : size * (count - 1)].unflatten(1, (count - 1, size)))
    rest = reduce(tokens[:, -(patches % size) :])[:, None]  # (B, 1, D)
    return _draw(torch.cat([strips, rest], 1).flatten(0, 1), count)


def _draw(candidates: Tensor, count: int) -> Tensor:
    _require_enough(len(candidates), count)
    return candidates[torch.randperm(len(candidates))[:count].to(candidates.device)]


def _require_enough(available: int, count: int) -> None:
    if available < count:
        raise ValueError(f"{count} prompts need as many tokens; these images have {available}")
