"""What shows that a backbone is pretrained: simple classifiers on its frozen features."""

from dataclasses import dataclass
from pathlib import Path

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from bench import backbones, data
from bench.backbones import Backbone
from bench.batches import Batches
from bench.cards import Recipe, Suite
from bench.tasks import Split, Task
from bench.views import View

NEIGHBOURS = 10


@dataclass(frozen=True)
class Evidence:
    """Top-1 percent on test of two classifiers on frozen, pooled features."""

    neighbours: float  # 10 nearest, by cosine
    linear: float  # logistic regression on standardised features


def probe(backbone: Backbone, recipe: Recipe, suite: Suite, task: Task, root: Path) -> Evidence:
    """Train both classifiers on the task's train and validation images, and score them on test."""
    (x, y), (test_x, test_y) = (
        _features(backbone, recipe, suite, task, split, root) for split in ("trainval", "test")
    )
    near = KNeighborsClassifier(NEIGHBOURS, metric="cosine").fit(x, y)
    scale = StandardScaler().fit(x)
    linear = LogisticRegression(C=0.01, max_iter=1000).fit(scale.transform(x), y)
    return Evidence(
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
    examples = data.read(suite, task, split, root)
    size, view = backbone.input.size, View("squash", "bicubic")
    shown = Batches(examples, view, size, 250, mean, std, torch.device("cpu"))
    found = [
        model.forward_head(model.forward_features(images), pre_logits=True) for images, _ in shown
    ]
    return torch.cat(found), examples.labels
