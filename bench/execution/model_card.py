"""The model card of an exported file: what the model is, how it was trained, and how to load it."""

from collections.abc import Mapping
from typing import Any

from bench.models import backbones
from bench.training.cell import Cell
from bench.utils.escaping import for_markdown, for_terminal

NOT_STATED = "not stated on the backbone's card; it is that of the pretrained weights"


def model_card(cell: Cell, accuracy: float, library: str, loading: str) -> str:
    """Return the card of a cell's model for `library`, with Python that loads it."""
    rows = [f"| {name} | {for_markdown(str(value))} |" for name, value in _facts(cell, accuracy)]
    return "\n".join(
        [
            *_front_matter(cell, library),
            f"# {for_markdown(_title(cell))}",
            "",
            "| what | of this model |",
            "|---|---|",
            *rows,
            "",
            f"The images are of {cell.backbone.input.size} pixels, resized by "
            f"`{cell.views.test}` ({cell.views.interpolation}) and normalised as the table says.",
            "",
            "```python",
            loading,
            "```",
            "",
        ]
    )


def create_model_call(cell: Cell, **more: object) -> str:
    """Return the Python that creates the cell's timm model with its classes."""
    name, options = backbones.timm_arguments(cell.backbone.card, cell.backbone.input)
    arguments = {"num_classes": cell.task.classes, **options, **more}
    words = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    return for_terminal(f"timm.create_model({name!r}, {words})")


def _title(cell: Cell) -> str:
    images = ", rehearsed on synthetic images" if cell.settings.is_synthetic else ""
    return f"{cell.settings.method} on {cell.task.title or cell.task.name}{images}"


def _front_matter(cell: Cell, library: str) -> list[str]:
    """Return the hub's metadata; the licence is in the table, for the hub knows only some names."""
    return [
        "---",
        f"library_name: {library}",
        "license: other",
        "tags: [image-classification, parameter-efficient-fine-tuning]",
        "---",
        "",
    ]


def _facts(cell: Cell, accuracy: float) -> list[tuple[str, Any]]:
    settings, card = cell.settings, cell.backbone.card
    mean, std = backbones.normalisation(cell.backbone, cell.recipe)
    return [
        ("backbone", f"{card.name} (timm's {card.timm})"),
        ("its weights' sha256", cell.backbone.sha256),
        ("their pretraining", card.pretraining or "not stated on the backbone's card"),
        ("their licence", card.licence or NOT_STATED),
        ("method", f"{settings.method} ({_items(settings.fields) or 'as registered'})"),
        ("task", f"{settings.task} of {settings.shown_suite} {settings.suite_version}"),
        ("classes", cell.task.classes),
        ("splits", settings.split),
        ("recipe", f"{cell.recipe.name} {cell.recipe.version} ({_items(settings.rates)})"),
        ("seed", settings.seed),
        ("accuracy", f"{accuracy:.2f} % top-1 on {cell.eval_split}"),
        ("normalisation", f"mean {tuple(mean)}, std {tuple(std)}"),
        ("cell", settings.digest()),
    ]


def _items(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())
