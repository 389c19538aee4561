"""The number of classes of a record of schema 1, which did not say it."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

import methods
from bench.config.backbone import RANDOM_WEIGHTS, BackboneCard, InputSpec
from bench.config.suite import load_suite
from bench.models import backbones
from bench.models.backbones import Backbone
from bench.records.schema import PROMPTS_FROM
from bench.utils.errors import UserError, first_line
from methods.shared.structure import heads_of


def infer_classes(path: Path, old: Mapping[str, Any]) -> int:
    """Infer a cell's number of classes from its parameters, or from its suite's card.

    Raises `UserError` where neither says it.
    """
    settings, outcome = old["settings"], old["outcome"]
    if not outcome:
        return _classes_of_card(path, old)
    recorded = outcome["method_params"] + outcome["head_params"]
    try:
        few, more = (_count_parameters(settings, classes) for classes in (2, 3))
    except Exception as error:  # a method or a field that is no more, a backbone that is not timm's
        raise UserError(
            f"{path}: the number of classes cannot be determined, since {settings['method']} "
            f"cannot be rebuilt: {first_line(error)}"
        ) from None
    classes, rest = divmod(recorded - few, more - few)  # every count grows alike with each class
    if rest or classes + 2 < 1:
        raise UserError(
            f"{path}: {settings['method']} has {few:,} trainable parameters with 2 classes and "
            f"{more:,} with 3; the record's {recorded:,} fit no number of classes"
        )
    return int(classes) + 2


def _classes_of_card(path: Path, old: Mapping[str, Any]) -> int:
    settings = old["settings"]
    try:
        suite = load_suite(old["request"].get("suite") or settings["suite"])
        return suite.find(settings["task"]).classes
    except UserError as error:
        raise UserError(f"{path}: the number of classes cannot be determined: {error}") from None


def _count_parameters(settings: Mapping[str, Any], classes: int) -> int:
    """Count the trainable parameters of a cell's model."""
    own = {k: v for k, v in settings["fields"].items() if k != PROMPTS_FROM}
    return _cached_count(settings["method"], json.dumps([own, settings["input"]]), classes)


@cache
def _cached_count(name: str, text: str, classes: int) -> int:
    own, input_settings = map(dict, json.loads(text))
    method = methods.create(name, **own)
    try:
        return _build_and_count(method, input_settings, classes, "meta")
    except (RuntimeError, NotImplementedError):  # what needs values to be built
        return _build_and_count(method, input_settings, classes, "cpu")


def _build_and_count(
    method: methods.Method, recorded: Mapping[str, Any], classes: int, device: str
) -> int:
    card = BackboneCard(
        name=recorded["timm"],
        timm=recorded["timm"],
        weights=RANDOM_WEIGHTS,
        pooling=recorded["pooling"],
        input_size=recorded["size"],
        architecture=recorded["architecture"],
    )
    mean, std = tuple(recorded["mean"]), tuple(recorded["std"])
    spec = InputSpec(recorded["size"], mean, std, recorded["pooling"])
    with torch.device(device):
        model = backbones.build(Backbone(card, spec, None, RANDOM_WEIGHTS), classes)
        model.requires_grad_(False)
        heads_of(model).requires_grad_(True)
        method.attach(model)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
