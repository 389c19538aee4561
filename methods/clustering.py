"""K-means where the tokens lie: greedy k-means++ seeds and Lloyd's iterations, chunk by chunk.

Several seedings are iterated on a sample of the tokens, and the best of them on all: what is found
is a solution for all tokens, but few passes over all of them are left to do.
Sources: Lloyd, 1982, https://doi.org/10.1109/TIT.1982.1056489; Arthur and Vassilvitskii, 2007,
https://dl.acm.org/doi/10.5555/1283383.1283494.
"""

from dataclasses import dataclass
from math import log

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = {"cpu": 2**20, "cuda": 2**26}  # values at a time: a processor's cache, a GPU's appetite
SAMPLE, PER_CLUSTER = 2**13, 2**8  # tokens of the sample: at least, and at least for each cluster
STARTS = 4  # seedings that are tried on the sample
TOLERANCE = 1e-4  # of the inertia: a pass that gains less is the last
PASSES = 300  # at most
ROUNDING = 64  # steps of a number's last digit that make no difference between two tokens


@dataclass(frozen=True)
class Points:
    """`tokens`, (N, D), as seen from `middle`, (D,): distances keep their digits near it."""

    tokens: Tensor
    middle: Tensor

    def chunks(self, clusters: int) -> tuple[Tensor, ...]:
        """Parts of the tokens, (n, D), such that neither (n, D) nor (n, clusters) is large."""
        values = CHUNK.get(self.tokens.device.type, 2**20)
        return self.tokens.split(max(1, values // max(self.tokens.shape[1], clusters)))

    def centred(self, part: Tensor) -> Tensor:
        """A part of the tokens less the middle."""
        return part.to(self.middle.dtype) - self.middle

    def spread(self) -> float:
        """The sum of all squared distances to the middle."""
        parts = [self.centred(p).square().sum(dtype=torch.float64) for p in self.chunks(1)]
        return torch.stack(parts).sum().item()


@dataclass(frozen=True)
class Assigned:
    """What one pass over the tokens finds of its K centres."""

    sums: Tensor  # (K, D) float64: of the centred tokens of each cluster
    counts: Tensor  # (K,)
    gain: float  # what the centres take off the spread; the rest is the inertia


def cluster(tokens: Tensor, count: int) -> Tensor:
    """The centres of `count` clusters of `tokens`, (N, D): (count, D).

    Draws from torch's generator. Computes in at least float32.
    """
    size = max(SAMPLE, PER_CLUSTER * count)
    chosen = torch.randperm(len(tokens))[:size].sort().values.to(tokens.device)
    sample = tokens[chosen].to(torch.promote_types(tokens.dtype, torch.float32))
    middle = sample.mean(0)
    sample -= middle
    some = Points(sample, torch.zeros_like(middle))
    starts = [_iterated(some, _seeds(sample, count)) for _ in range(STARTS)]
    found, _ = min(starts, key=lambda start: start[1])
    if len(sample) < len(tokens):
        found, _ = _iterated(Points(tokens, middle), found)
    return (found + middle).to(tokens.dtype)


def _seeds(tokens: Tensor, count: int) -> Tensor:
    """Greedy k-means++: of a few tokens drawn by squared distance, the one that helps most."""
    norms = tokens.square().sum(1)
    seeds = tokens[torch.randint(len(tokens), (1,))]
    near = _squares(tokens, norms, seeds)[:, 0]  # (N,)
    for draws in torch.rand(count - 1, 2 + int(log(count)), dtype=torch.float64):
        reach = near.cumsum(0, dtype=torch.float64)
        places = torch.searchsorted(reach, draws.to(reach.device) * reach[-1], right=True)
        candidates = tokens[places.clamp_max(len(tokens) - 1)]  # (candidates, D)
        nearer = torch.minimum(_squares(tokens, norms, candidates), near[:, None])
        best = nearer.sum(0).argmin()
        near, seeds = nearer[:, best], torch.cat([seeds, candidates[best][None]])
    return seeds


def _squares(tokens: Tensor, norms: Tensor, centres: Tensor) -> Tensor:
    """The squared distance of each token to each of the centres, (N, centres)."""
    return (norms[:, None] + centres.square().sum(1) - 2 * tokens @ centres.T).clamp_min(0)


def _iterated(points: Points, centres: Tensor) -> tuple[Tensor, float]:
    """Lloyd's iterations from `centres`, (K, D), until they gain little; and the last inertia."""
    spread, before = points.spread(), float("inf")
    inertia = before
    for _ in range(PASSES):
        found = _assigned(points, centres)
        inertia = max(0.0, spread - found.gain)
        centres, repaired = _moved(points, centres, found)
        if before - inertia <= TOLERANCE * inertia and not repaired:
            break
        before = inertia
    return centres, inertia


def _assigned(points: Points, centres: Tensor) -> Assigned:
    """Give every token to the nearest of the centres, (K, D)."""
    count = len(centres)
    sums, counts = torch.zeros_like(centres, dtype=torch.float64), centres.new_zeros(count)
    gain = torch.zeros((), dtype=torch.float64, device=centres.device)
    for part in points.chunks(count):
        tokens = points.centred(part)
        best, labels = _nearest(tokens, centres)
        belongs = F.one_hot(labels, count).to(centres.dtype)  # (n, K)
        sums += belongs.T @ tokens
        counts += belongs.sum(0)
        gain += best.sum(dtype=torch.float64)
    return Assigned(sums, counts, 2 * gain.item())


def _nearest(tokens: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """x . c - |c|^2 / 2 of the nearest centre, which centre it is: (n,) each."""
    best, labels = torch.addmm(centres.square().sum(1), tokens, centres.T, beta=-0.5).max(1)
    return best, labels


def _moved(points: Points, centres: Tensor, found: Assigned) -> tuple[Tensor, bool]:
    """The mean of each cluster, (K, D); an empty one starts anew where it is needed most.

    Also whether any did: not where there are fewer distinct tokens than clusters.
    """
    means = (found.sums / found.counts.clamp_min(1)[:, None]).to(centres.dtype)
    empty = (found.counts == 0).nonzero()[:, 0]
    if not len(empty):
        return means, False
    far = _farthest(points, centres, len(empty))
    means[empty] = centres[empty]
    means[empty[: len(far)]] = far
    return means, len(far) > 0


def _farthest(points: Points, centres: Tensor, count: int) -> Tensor:
    """The `count` centred tokens farthest from their centres, (`count` or fewer, D).

    Those that differ from their centre by rounding alone are left out.
    """
    away, tokens = centres.new_zeros(0), centres[:0]
    for part in points.chunks(len(centres)):
        tokens = torch.cat([tokens, points.centred(part)])
        _, labels = _nearest(tokens, centres)
        away = (tokens - centres[labels]).square().sum(1)
        away[away <= ROUNDING * torch.finfo(tokens.dtype).eps * tokens.square().sum(1)] = 0
        away, order = away.topk(min(count, len(away)))
        tokens = tokens[order]
    return tokens[away > 0]
