"""GPS: the weights of largest gradient, some per neuron (Zhang et al., 2024), https://arxiv.org/abs/2312.10136."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.shared.backbone import train_biases
from methods.shared.base import Batches, Method
from methods.shared.entries import EntryTunedLayer, LearntEntries
from methods.shared.gradients import add_up_gradients, on_device
from methods.shared.hyperparameters import require_size
from methods.shared.registry import register
from methods.shared.structure import blocks_of, expose_layers, heads_of

CROP_AREA, CROP_RATIO = (0.08, 1.0), 4 / 3
TEMPERATURE = 0.07


def random_view(images: Tensor) -> Tensor:
    """Crop each image, (B, 3, H, W), at random, resize it to its size, and flip half of them."""

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(len(images)).uniform_(low, high)

    area, ratio = uniform(*CROP_AREA), CROP_RATIO ** uniform(-1, 1)
    width, height = (area * ratio).sqrt().clamp_max(1), (area / ratio).sqrt().clamp_max(1)
    x, y = (1 - width) * uniform(-1, 1), (1 - height) * uniform(-1, 1)
    none, side = torch.zeros(len(images)), uniform(-1, 1).sign()
    affine = torch.stack([side * width, none, x, none, height, y], 1).unflatten(1, (2, 3))
    grid = F.affine_grid(affine.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False, padding_mode="border")


def supervised_contrastive_loss(features: Tensor, labels: Tensor) -> Tensor:
    """Compute the loss of Khosla et al. (2020) for two views' features, (2 B, D), of B labels.

    A view's likeness to each other view of its class, among that to all others.
    """
    features = F.normalize(features)
    own = torch.eye(len(features), dtype=torch.bool, device=features.device)
    likeness = (features @ features.T / TEMPERATURE).masked_fill(own, -torch.inf)  # (2 B, 2 B)
    labels = labels.repeat(2)
    positive = (labels[:, None] == labels) & ~own
    log_share = likeness.log_softmax(1).masked_fill(~positive, 0)
    return -(log_share.sum(1) / positive.sum(1)).mean()


def weighted_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the linear layers and convolutions of the model, without its heads, by name."""
    heads = {id(module) for module in heads_of(model).modules()}
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and id(module) not in heads
    }


def largest_in_rows(values: Tensor, count: int) -> Tensor:
    """Return the places of the `count` largest magnitudes in each row of the flattened tensor."""
    rows = values.flatten(1).abs()  # (outputs, inputs)
    columns = rows.topk(min(count, rows.shape[1])).indices
    return (
        columns + torch.arange(len(rows), device=rows.device)[:, None] * rows.shape[1]
    ).flatten()


@dataclass(frozen=True)
class GPS(Method):
    """Train, of each neuron, the `entries` incoming weights of largest gradient, and all biases.

    Neurons are the outputs of all linear layers and convolutions, patch embedding included. The
    gradients are those of one pass over the training images in training mode, summed over batches,
    of the supervised contrastive loss between two views of the images, on the features before the
    head. Biases of norms, the class token and positions stay frozen. The paper takes one entry for
    VTAB-1k and 2 to 20 for FGVC, Adam without decay, and a learning rate per task.

    The views are random crops and flips of what the loader gives, test views: the released code
    (https://github.com/FightingFighting/GPS) takes them of the files, and changes colours, too.
    Batches are the recipe's, 16 to 32 images there, where masked gradients move the weights
    themselves; without decay that is the same as learning their changes. Without data, as where a
    checkpoint is loaded, the first weights of each neuron hold the places.
    """

    entries: int = 1

    reads_labels = True

    def __post_init__(self) -> None:
        require_size("GPS's number of entries", self.entries)

    def attach(self, model: VisionTransformer) -> None:
        falling = {
            name: torch.arange(weight[0].numel(), 0, -1, device=weight.device).expand(
                len(weight), -1
            )
            for name, weight in _weights(model).items()
        }
        self._attach(model, falling)

    def prepare(self, model: VisionTransformer, batches: Batches) -> None:
        self._attach(model, add_up_gradients(model, _weights(model), _losses(model, batches)))

    def _attach(self, model: VisionTransformer, values: Mapping[str, Tensor]) -> None:
        for block in blocks_of(model):
            expose_layers(block)
        for module in model.modules():
            if not _is_norm(module):
                train_biases(module)
        for name, layer in weighted_layers(model).items():
            places = largest_in_rows(values[name], self.entries)
            model.set_submodule(name, EntryTunedLayer(layer, LearntEntries(places)))


def _weights(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: layer.get_parameter("weight") for name, layer in weighted_layers(model).items()}


def _is_norm(module: nn.Module) -> bool:
    return "Norm" in type(module).__name__


def _losses(model: VisionTransformer, batches: Batches) -> Iterator[Tensor]:
    for images, labels in on_device(model, batches):
        views = torch.cat([random_view(images), random_view(images)])
        features = model.forward_head(model.forward_features(views), pre_logits=True)
        yield supervised_contrastive_loss(features, labels)


register("gps", GPS())
