"""The page of compatibility: which method works on which family of backbones.

Each method is attached, on the meta device, to one model of each family: of its published width,
on which some methods depend, and of few blocks, on whose number none does.
"""

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any

import timm
import torch

import methods
from bench.models import compatibility
from bench.report.markdown import table_from_rows
from bench.utils.escaping import for_markdown
from methods.shared.base import Model

WORKS = "works"
PACKAGES = ("timm", "peft")  # whose versions may change an answer


@dataclass(frozen=True)
class Example:
    """A model that represents its family, and the arguments that make it small."""

    timm: str
    options: Mapping[str, Any] = field(default_factory=lambda: {"depth": 2})


EXAMPLES = {
    "ViT": Example("vit_base_patch16_224"),
    "ViT, post-norm": Example("vit_base_patch16_rpn_224"),
    "ViT, parallel": Example("vit_small_patch16_18x2_224"),
    "AIMv2": Example("aimv2_large_patch14_224"),
    "ViTamin": Example("vitamin_base_224"),
    "DeiT, distilled": Example("deit_base_distilled_patch16_224"),
    "BEiT": Example("beit_base_patch16_224"),
    "ViT, relative positions": Example("vit_relpos_base_patch16_224"),
    "EVA-02": Example("eva02_base_patch14_224"),
    "DINOv3": Example("vit_base_patch16_dinov3"),
    "PE-core": Example("vit_pe_core_base_patch16_224"),
    "Swin": Example("swin_base_patch4_window7_224", {"depths": (2, 2, 2, 2)}),
    "ConvNeXt": Example("convnext_base", {"depths": (1, 1, 1, 1)}),
    "ResNet": Example("resnet50", {"layers": (1, 1, 1, 1)}),
}


def answer(family: str, method: str) -> str:
    """Return `WORKS`, or the sentence that says why the method is n/a on the family."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what peft cannot merge, and of sizes that it adjusts
        error = compatibility.try_attach(methods.create(method), copy.deepcopy(_model(family)))
    return str(error) if error else WORKS


@cache
def _model(family: str) -> Model:
    example = EXAMPLES[family]
    with torch.device("meta"):
        model = timm.create_model(example.timm, num_classes=2, **example.options)
    return model.requires_grad_(False)


def markdown_page() -> str:
    """Render the whole page: every method on every family."""
    names = methods.names()
    return render({name: {family: answer(family, name) for family in EXAMPLES} for name in names})


def render(answers: Mapping[str, Mapping[str, str]]) -> str:
    """Render the page of some answers, by method and family."""
    said = (text for row in answers.values() for text in row.values())
    reasons = [text for text in dict.fromkeys(said) if text != WORKS]
    lines = [(name, *(_cell(row[f], reasons) for f in EXAMPLES)) for name, row in answers.items()]
    header = ("method", *EXAMPLES)
    notes = [f"{number}. {for_markdown(text)}" for number, text in enumerate(reasons, 1)]
    parts = [*_introduction(), table_from_rows(header, lines, frozenset(header)), "## Why n/a"]
    return "\n\n".join([*parts, "\n".join(notes)]) + "\n"


def _cell(text: str, reasons: Sequence[str]) -> str:
    return text if text == WORKS else f"n/a ({reasons.index(text) + 1})"


def _introduction() -> list[str]:
    models = ", ".join(f"{family} `{example.timm}`" for family, example in EXAMPLES.items())
    return [
        "<!-- made by `python -m bench compatibility`; do not edit -->",
        "# Methods and backbones",
        made_with(),
        f"Each column is one model of its family: {models}. Others of a family may differ in their "
        "layers: `run --dry-run` warns, and a cell that is not possible is recorded as n/a, with "
        "the sentence.",
    ]


def made_with() -> str:
    """Return the sentence that says with which versions the page was made."""
    names = " and ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"What can be attached with {names}."
