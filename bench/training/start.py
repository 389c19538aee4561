"""The start of training: a head fitted to frozen features, where asked for, and the method's own.

A linear probe makes the start a classifier, so that the weights between it and the adapted model
can be compared with both.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.config.recipe import LINEAR_PROBE
from bench.data.loader import BatchLoader
from bench.data.splits import Examples
from bench.training import devices, trainer
from bench.training.cell import Cell, load_split, make_loader
from methods.shared.base import Model
from methods.shared.memory import SpillWarning
from methods.shared.modes import eval_mode
from methods.shared.structure import heads_of

# Of the squared weights on standardised features. The optimum is reached to `GRADIENT`, in float64.
PROBE_DECAY = 0.01
MAX_STEPS, GRADIENT = 1000, 1e-6


@dataclass(frozen=True)
class InitStats:
    """Time and data of the initialisation."""

    seconds: float
    images: int  # read by the fit of the head and by `prepare`
    spilled: list[str]  # warnings about data that did not fit into memory


NOT_TAKEN = InitStats(0.0, 0, [])  # where a checkpoint brings what an initialisation found


def initialise(
    cell: Cell, model: Model, train_examples: Examples, device: torch.device
) -> InitStats:
    """Fit the head to the training examples, where the recipe says so, and prepare the method.

    The method sees the training examples, or those of the cell's `prompt_task`.
    """
    init_examples = train_examples
    if cell.prompt_task:
        init_examples = load_split(cell, cell.train_split, cell.prompt_task)
    devices.synchronise(device)
    start = perf_counter()
    probed = _probe(cell, model, train_examples, device)
    loader = make_loader(cell, init_examples, cell.views.test, device, cell.settings.seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SpillWarning)  # in each cell of a process, not in its first
        cell.method.prepare(model, loader)
    devices.synchronise(device)
    seconds = perf_counter() - start
    for one in caught:
        warnings.showwarning(one.message, one.category, one.filename, one.lineno)
    spilled = [str(one.message) for one in caught if issubclass(one.category, SpillWarning)]
    return InitStats(seconds, probed + loader.images_served, spilled)


def _probe(cell: Cell, model: Model, train_examples: Examples, device: torch.device) -> int:
    """Fit the head if the recipe asks for it; return how many images were read."""
    if cell.recipe.head_init != LINEAR_PROBE:
        return 0
    loader = make_loader(cell, train_examples, cell.views.test, device)
    fit_heads(model, loader, cell.settings.recipe["precision"])
    return loader.images_served


def fit_heads(model: Model, images: BatchLoader, precision: str) -> None:
    """Fit each of the model's heads to the features that it gets of the images.

    Deterministic: the images come in the order of the split, and nothing is drawn.
    """
    features = head_inputs(model, images, precision)
    for head, of_head in zip(heads_of(model), features, strict=True):
        weight, bias = head.get_parameter("weight"), head.get_parameter("bias")
        fitted = fit_linear(of_head, images.examples.labels, len(weight))
        with torch.no_grad():
            for parameter, value in zip((weight, bias), fitted, strict=True):
                parameter.copy_(value)


def head_inputs(model: Model, images: BatchLoader, precision: str) -> list[Tensor]:
    """Return the pooled features that each head gets, (N, D), in float64 on the CPU."""
    half = trainer.autocast(images.device, precision)
    with eval_mode(model), half, _recorded_inputs(heads_of(model)) as found:
        for batch, _ in images:
            model(batch)
    return [torch.cat(of_head) for of_head in found]


@contextmanager
def _recorded_inputs(heads: nn.ModuleList) -> Iterator[list[list[Tensor]]]:
    """Record what each head is called with; afterwards the heads are as before."""
    found: list[list[Tensor]] = [[] for _ in heads]

    def record(inputs: list[Tensor], _: nn.Module, args: tuple[Tensor, ...]) -> None:
        inputs.append(args[0].double().cpu())

    handles = [
        head.register_forward_pre_hook(partial(record, of_head))
        for head, of_head in zip(heads, found, strict=True)
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def fit_linear(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Fit logistic regression to features, (N, D), and labels, (N,): weights (C, D), biases (C,).

    The loss is the mean cross entropy plus ``PROBE_DECAY / 2`` of the squared weights, both on
    features with mean 0 and deviation 1, and it has one minimum.
    """
    mean, deviation = features.mean(0), features.std(0, correction=0)
    deviation = deviation.where(deviation > 0, 1.0)
    x, y = (features - mean) / deviation, labels.cpu()
    weight = x.new_zeros(classes, x.shape[1], requires_grad=True)
    bias = x.new_zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias],
        max_iter=MAX_STEPS,
        tolerance_grad=GRADIENT,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        fit = F.cross_entropy(F.linear(x, weight, bias), y)
        total = fit + PROBE_DECAY / 2 * weight.square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        optimiser.step(loss)
    scaled = weight.detach() / deviation
    return scaled, bias.detach() - scaled @ mean
