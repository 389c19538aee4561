"""Measures of all layers of a prompted model, from one pass over images."""

from timm.models import VisionTransformer
from torch import Tensor

from bench.studies.measures import alignment
from bench.studies.measures.mutual_information import MutualInformation
from bench.studies.measures.prompted_pass import (
    Images,
    layer_inputs,
    prompted_blocks,
    without_prompts,
)


def by_layer(model: VisionTransformer, method: str, batches: Images) -> dict[str, list[float]]:
    """Normalised mutual information of prompts and patch tokens, a value a layer.

    ``nmi`` is the mean of the images' values, ``nmi_pooled`` that of all their tokens at once
    (`MutualInformation`). One value where prompts are shallow. Leaves the model and all random
    numbers as they are. Raises `UserError` for a model without prompts; `method`, by which it was
    prepared, is for that message.
    """
    if not prompted_blocks(model):
        raise without_prompts("NMI", method)
    layers: dict[int, MutualInformation] = {}
    for i, prompts, tokens in layer_inputs(model, batches):
        layers.setdefault(i, MutualInformation(prompts)).add(tokens)
    return {
        "nmi": [layer.value() for layer in layers.values()],
        "nmi_pooled": [layer.pooled() for layer in layers.values()],
    }


def alignments(
    model: VisionTransformer, method: str, batches: Images, estimator: str = "unbiased"
) -> list[list[float]]:
    """CKA of each layer's prompts, a row each, with each layer's patch tokens, a column each.

    The examples are the channels and the tokens of all images their features: kernels, (D, D), add
    up over batches, so this is exact and never holds the tokens. Square; one number where prompts
    are shallow. Otherwise as `by_layer`; raises `UserError` for an unknown `estimator`, too.
    """
    alignment.estimator_called(estimator)  # a typo is told before the pass
    if not prompted_blocks(model):
        raise without_prompts("CKA", method)
    rows: dict[int, Tensor] = {}
    columns: dict[int, Tensor] = {}
    for i, prompts, tokens in layer_inputs(model, batches):
        rows.setdefault(i, alignment.of_channels(prompts))
        kernel = alignment.of_channels(tokens)
        columns[i] = columns[i].add_(kernel) if i in columns else kernel
    found = alignment.between(list(rows.values()), list(columns.values()), estimator)
    return [[float(value) for value in row] for row in found]
