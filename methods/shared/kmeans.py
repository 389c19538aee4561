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

CHUNK_VALUES = {
    "cpu": 2**20,
    "cuda": 2**26,
}  # values at a time: a processor's cache, a GPU's appetite
MIN_SAMPLE_SIZE, SAMPLES_PER_CLUSTER = (
    2**13,
    2**8,
)  # tokens of the sample: at least, and at least for each cluster
N_INIT = 4  # seedings that are tried on the sample
TOLERANCE, SAMPLE_TOLERANCE = (
    1e-4,
    1e-3,
)  # of the inertia: a pass that gains less is the last; of a trial
MAX_ITERATIONS = 300  # at most
ROUNDING_ULPS = 64  # steps of a number's last digit that make no difference between two tokens


@dataclass(frozen=True)
class CentredPoints:
    """`tokens`, (N, D), as seen from `middle`, (D,): distances keep their digits near it."""

    tokens: Tensor
    middle: Tensor

    def chunks(self, clusters: int) -> tuple[Tensor, ...]:
        """Parts of the tokens, (n, D), such that neither (n, D) nor (n, clusters) is large."""
        values = CHUNK_VALUES.get(self.tokens.device.type, 2**20)
        return self.tokens.split(max(1, values // max(self.tokens.shape[1], clusters)))

    def centred(self, part: Tensor) -> Tensor:
        """A part of the tokens less the middle."""
        return part.to(self.middle.dtype) - self.middle

    def sum_of_squares(self) -> float:
        """The sum of all squared distances to the middle."""
        total = torch.zeros((), dtype=torch.float64, device=self.middle.device)
        for part in self.chunks(1):  # no list: small numbers would pin the room between them
            total += self.centred(part).square().sum(dtype=torch.float64)
        return total.item()


@dataclass
class LloydState:
    """What is known of K clusters from one pass to the next, so that a pass adds what changed."""

    labels: Tensor  # (N,): K where a token has none yet
    sums: Tensor  # (K, D) float64: of the centred tokens of each cluster
    counts: Tensor  # (K,) float64


def cluster_centres(tokens: Tensor, count: int) -> Tensor:
    """The centres of `count` clusters of `tokens`, (N, D): (count, D).

    Draws from torch's generator. Computes in at least float32.
    """
    size = max(MIN_SAMPLE_SIZE, SAMPLES_PER_CLUSTER * count)
    chosen = torch.randperm(len(tokens))[:size].sort().values.to(tokens.device)
    sample = tokens[chosen].to(torch.promote_types(tokens.dtype, torch.float32))
    middle = sample.mean(0)
    sample -= middle
    some = CentredPoints(sample, torch.zeros_like(middle))
    trials = [
        _lloyd(some, _kmeans_plus_plus(sample, count), SAMPLE_TOLERANCE) for _ in range(N_INIT)
    ]
    best, _ = min(trials, key=lambda trial: trial[1])
    found, _ = _lloyd(some, best)
    if len(sample) < len(tokens):
        found, _ = _lloyd(CentredPoints(tokens, middle), found)
    return (found + middle).to(tokens.dtype)


def _kmeans_plus_plus(tokens: Tensor, count: int) -> Tensor:
    """Greedy k-means++: of a few tokens drawn by squared distance, the one that helps most."""
    norms = tokens.square().sum(1)
    seeds = tokens[torch.randint(len(tokens), (1,))]
    near = _squared_distances(tokens, norms, seeds)[:, 0]  # (N,)
    for draws in torch.rand(count - 1, 2 + int(log(count)), dtype=torch.float64):
        reach = near.cumsum(0, dtype=torch.float64)
        places = torch.searchsorted(reach, draws.to(reach.device) * reach[-1], right=True)
        candidates = tokens[places.clamp_max(len(tokens) - 1)]  # (candidates, D)
        nearer = torch.minimum(_squared_distances(tokens, norms, candidates), near[:, None])
        best = nearer.sum(0).argmin()
        near, seeds = nearer[:, best], torch.cat([seeds, candidates[best][None]])
    return seeds


def _squared_distances(tokens: Tensor, norms: Tensor, centres: Tensor) -> Tensor:
    """The squared distance of each token to each of the centres, (N, centres)."""
    return (norms[:, None] + centres.square().sum(1) - tokens @ (2 * centres).T).clamp_min(0)


def _lloyd(
    points: CentredPoints, centres: Tensor, tolerance: float = TOLERANCE
) -> tuple[Tensor, float]:
    """Lloyd's iterations from `centres`, (K, D), until they gain little; and the last inertia."""
    spread, before = points.sum_of_squares(), float("inf")
    clusters, inertia = _initial_state(points, centres), before
    for _ in range(MAX_ITERATIONS):
        inertia = max(0.0, spread - _assign(points, centres, clusters))
        centres, repaired = _update_centres(points, centres, clusters)
        if before - inertia <= tolerance * inertia and not repaired:
            break
        before = inertia
    return centres, inertia


def _initial_state(points: CentredPoints, centres: Tensor) -> LloydState:
    sums, count = torch.zeros_like(centres, dtype=torch.float64), len(centres)
    labels = torch.full(points.tokens.shape[:1], count, device=centres.device)
    return LloydState(labels, sums, sums.new_zeros(count))


def _assign(points: CentredPoints, centres: Tensor, clusters: LloydState) -> float:
    """Give every token to the nearest of the centres; what these take off the spread."""
    gain, count = clusters.counts.new_zeros(()), len(centres)
    chunks = points.chunks(count)
    for part, old in zip(chunks, clusters.labels.split(len(chunks[0])), strict=True):
        tokens = points.centred(part)
        best, new = _nearest(tokens, centres)
        gain += best.sum(dtype=torch.float64)
        moved = (new != old).nonzero()[:, 0]
        joins = F.one_hot(new[moved], count + 1) - F.one_hot(old[moved], count + 1)  # (n, K + 1)
        clusters.sums += joins[:, :count].T.to(tokens.dtype) @ tokens[moved]
        clusters.counts += joins[:, :count].sum(0)
        old.copy_(new)
    return 2 * gain.item()


def _nearest(tokens: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """x . c - |c|^2 / 2 of the nearest centre, which centre it is: (n,) each."""
    best, labels = torch.addmm(centres.square().sum(1), tokens, centres.T, beta=-0.5).max(1)
    return best, labels


def _update_centres(
    points: CentredPoints, centres: Tensor, clusters: LloydState
) -> tuple[Tensor, bool]:
    """The mean of each cluster, (K, D); an empty one starts anew where it is needed most.

    Also whether any did: not where there are fewer distinct tokens than clusters.
    """
    means = (clusters.sums / clusters.counts.clamp_min(1)[:, None]).to(centres.dtype)
    empty = (clusters.counts == 0).nonzero()[:, 0]
    if not len(empty):
        return means, False
    far = _farthest(points, centres, len(empty))
    means[empty] = centres[empty]
    means[empty[: len(far)]] = far
    return means, len(far) > 0


def _farthest(points: CentredPoints, centres: Tensor, count: int) -> Tensor:
    """The `count` centred tokens farthest from their centres, (`count` or fewer, D).

    Those that differ from their centre by rounding alone are left out.
    """
    away, tokens = centres.new_zeros(0), centres[:0]
    for part in points.chunks(len(centres)):
        tokens = torch.cat([tokens, points.centred(part)])
        _, labels = _nearest(tokens, centres)
        away = (tokens - centres[labels]).square().sum(1)
        away[away <= ROUNDING_ULPS * torch.finfo(tokens.dtype).eps * tokens.square().sum(1)] = 0
        away, order = away.topk(min(count, len(away)))
        tokens = tokens[order]
    return tokens[away > 0]
