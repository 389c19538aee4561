"""The map from classes to prompts: k-means, by cosine, of the classes' mean features."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ITERATIONS, TOLERANCE = 20, 1e-4


class ClassMap(nn.Module):
    """Which of `prompts` each class belongs to, and the mean features of the classes seen since.

    No weights file holds any of it: it has no part in a score. Before the first `renew`, class c
    belongs to prompt c mod `prompts`.
    """

    prompt_of: Tensor  # (C,)
    sums: Tensor  # (C, D)
    counts: Tensor  # (C,)
    centres: Tensor | None  # (P, D)

    def __init__(self, classes: int, prompts: int, width: int):
        super().__init__()
        self.prompts = min(prompts, max(1, classes))
        start = {
            "prompt_of": torch.arange(classes) % self.prompts,
            "sums": torch.zeros(classes, width),
            "counts": torch.zeros(classes),
        }
        for name, value in start.items():
            self.register_buffer(name, value, persistent=False)
        self.register_buffer("centres", None, persistent=False)

    def observe(self, features: Tensor, labels: Tensor) -> None:
        """Take features, (B, D), of images with these labels, (B,), into the means."""
        self.sums.index_add_(0, labels, features.detach().to(self.sums.dtype))
        self.counts.index_add_(0, labels, torch.ones_like(labels, dtype=self.counts.dtype))

    def renew(self) -> None:
        """Map the classes again by what was observed since the last time, and forget it.

        Iterations start from the centres of the last time. A map of all classes to one prompt is
        not taken over.
        """
        seen = self.counts > 0
        means = self.sums[seen] / self.counts[seen, None]  # (C, D)
        if len(means) >= self.prompts:
            normed = F.layer_norm(means, means.shape[1:])
            nearest, centres = cosine_clusters(normed, self.prompts, self.centres)
            found = torch.randint(self.prompts, self.prompt_of.shape).to(self.prompt_of)
            found[seen] = nearest
            if len(found.unique()) > 1 or self.prompts == 1:
                self.prompt_of.copy_(found)
                self.centres = centres
            else:
                self.centres = None
        self.forget()

    def forget(self) -> None:
        """Forget what was observed since the last time."""
        self.sums.zero_()
        self.counts.zero_()


def cosine_clusters(
    points: Tensor, count: int, centres: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the cluster of each of `points`, (N, D), by cosine, and the centres, (count, D).

    Starts from `centres` or from `count` of the points; a centre without points stays.
    """
    if centres is None:
        centres = points[torch.randperm(len(points))[:count].to(points.device)]
    for _ in range(ITERATIONS):
        cosines = F.normalize(points, dim=1) @ F.normalize(centres, dim=1).T  # (N, count)
        nearest = cosines.argmax(1)
        members = F.one_hot(nearest, count).to(points)  # (N, count)
        sizes = members.sum(0)[:, None]
        moved = torch.where(sizes > 0, members.T @ points / sizes.clamp(min=1), centres)
        if (moved - centres).norm(dim=1).sum() < TOLERANCE:
            break
        centres = moved
    return nearest, centres
