"""Linear probes on frozen features, which show whether a backbone is pretrained."""

from dataclasses import dataclass
from pathlib import Path

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from bench.config.recipe import Recipe
from bench.config.suite import Split, Suite, Task
from bench.data import splits
from bench.data.loader import BatchLoader
from bench.data.transforms import Transform
from bench.models import backbones
from bench.models.backbones import Backbone

NEIGHBOURS = 10


@dataclass(frozen=True)
class ProbeAccuracy:
    """Top-1 percent on test of two classifiers on frozen, pooled features."""

    neighbours: float  # 10 nearest, by cosine
    linear: float  # logistic regression on standardised features


def probe(
    backbone: Backbone, recipe: Recipe, suite: Suite, task: Task, root: Path
) -> ProbeAccuracy:
    """Train both classifiers on the task's train and validation images, and score them on test."""
    (x, y), (test_x, test_y) = (
        _features(backbone, recipe, suite, task, split, root) for split in ("trainval", "test")
    )
    near = KNeighborsClassifier(NEIGHBOURS, metric="cosine").fit(x, y)
    scale = StandardScaler().fit(x)
    linear = LogisticRegression(C=0.01, max_iter=1000).fit(scale.transform(x), y)
    return ProbeAccuracy(
        100 * float(near.score(test_x, test_y)),
        100 * float(linear.score(scale.transform(test_x), test_y)),
    )


@torch.no_grad()
def _features(
    backbone: Backbone, recipe: Recipe, suite: Suite, task: Task, split: Split, root: Path
) -> tuple[torch.Tensor, torch.Tensor]:
    """The pooled features, (B, D), and labels, (B,), of a split."""
    model = backbones.load(backbone, task.classes, recipe).eval()
    mean, std = backbones.normalisation(backbone, recipe)
    examples = splits.load_split(suite, task, split, root)
    size, view = backbone.input.size, Transform("squash", "bicubic")
    shown = BatchLoader(examples, view, size, 250, mean, std, torch.device("cpu"))
    found = [
        model.forward_head(model.forward_features(images), pre_logits=True) for images, _ in shown
    ]
    return torch.cat(found), examples.labels
