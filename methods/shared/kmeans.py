"""K-means on the tokens' own device, in chunks: greedy k-means++ and Lloyd's iterations.

Several seedings are run to convergence on a sample of the tokens; only the best continues on all
of them. The result is a solution for all tokens, with few passes over the full set.
Sources: Lloyd, 1982, https://doi.org/10.1109/TIT.1982.1056489; Arthur and Vassilvitskii, 2007,
https://dl.acm.org/doi/10.5555/1283383.1283494.
"""

from dataclasses import dataclass
from math import log

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK_VALUES = {"cpu": 2**20, "cuda": 2**26}  # values per chunk: a CPU's cache, a GPU's occupancy
MIN_SAMPLE_SIZE, SAMPLES_PER_CLUSTER = 2**13, 2**8  # the larger lower bound of the sample counts
N_INIT = 4  # seedings tried on the sample
# Stop after a pass that lowers the inertia by less than this fraction: all tokens, the sample.
TOLERANCE, SAMPLE_TOLERANCE = 1e-4, 1e-3
MAX_ITERATIONS = 300
ROUNDING_ULPS = 64  # two tokens closer than so many units in the last place count as equal


@dataclass(frozen=True)
class CentredPoints:
    """`tokens`, (N, D), relative to `middle`, (D,), which keeps distances numerically precise."""

    tokens: Tensor
    middle: Tensor

    def chunks(self, clusters: int) -> tuple[Tensor, ...]:
        """Split the tokens into chunks, (n, D), with neither (n, D) nor (n, clusters) large."""
        values = CHUNK_VALUES.get(self.tokens.device.type, 2**20)
        return self.tokens.split(max(1, values // max(self.tokens.shape[1], clusters)))

    def centred(self, part: Tensor) -> Tensor:
        """Subtract the middle from a chunk of tokens."""
        return part.to(self.middle.dtype) - self.middle

    def sum_of_squares(self) -> float:
        """Sum the squared distances of all tokens to the middle."""
        total = torch.zeros((), dtype=torch.float64, device=self.middle.device)
        for part in self.chunks(1):  # no list of scalars: they would fragment memory
            total += self.centred(part).square().sum(dtype=torch.float64)
        return total.item()


@dataclass
class LloydState:
    """Assignments and sums of K clusters, which each pass updates incrementally."""

    labels: Tensor  # (N,): K for tokens not yet assigned
    sums: Tensor  # (K, D) float64: sums of the centred tokens of each cluster
    counts: Tensor  # (K,) float64


def cluster_centres(tokens: Tensor, count: int) -> Tensor:
    """Cluster `tokens`, (N, D), and return the `count` centres, (count, D).

    Draws from torch's global generator. Computes in at least float32.
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
    """Greedy k-means++: draw a few tokens by squared distance, keep the one that helps most."""
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
    """Squared distance of each token to each centre, (N, centres)."""
    return (norms[:, None] + centres.square().sum(1) - tokens @ (2 * centres).T).clamp_min(0)


def _lloyd(
    points: CentredPoints, centres: Tensor, tolerance: float = TOLERANCE
) -> tuple[Tensor, float]:
    """Run Lloyd's iterations from `centres`, (K, D); return the final centres and inertia."""
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
    """Assign every token to its nearest centre; return by how much this lowers the inertia."""
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
    """Nearest centre of each token and its score x . c - |c|^2 / 2: (score, label), (n,) each."""
    best, labels = torch.addmm(centres.square().sum(1), tokens, centres.T, beta=-0.5).max(1)
    return best, labels


def _update_centres(
    points: CentredPoints, centres: Tensor, clusters: LloydState
) -> tuple[Tensor, bool]:
    """Compute the mean of each cluster, (K, D); move empty clusters to the farthest tokens.

    Also return whether any was moved; none is if there are fewer distinct tokens than clusters.
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
    """Return the `count` centred tokens farthest from their centres, (`count` or fewer, D).

    Tokens that differ from their centre only by rounding are left out.
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
