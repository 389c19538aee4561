"""Identity of backbones: what records tell them by, and that no two of a request share a name."""

from collections.abc import Mapping
from typing import Any

from bench.models.backbones import Backbone
from bench.utils.errors import UserError


def describe_model(backbone: Backbone) -> dict[str, Any]:
    """Return what a card says of its model that the hash of the weights file does not tell."""
    card = backbone.card
    chosen = {"state_dict": card.state_dict} if card.state_dict else {}
    return {"timm": card.timm.split(".")[0], "architecture": card.architecture, **chosen}


def key(backbone: Backbone) -> str:
    """Return a text that identifies a backbone: two names with the same text are one backbone."""
    return repr((backbone.card.name, backbone.sha256, backbone.input, describe_model(backbone)))


def require_distinct_names(found: Mapping[str, Backbone]) -> None:
    """Raise `UserError` for two backbones of one name, such as two files of one stem."""
    first = dict[str, str]()
    for requested, one in found.items():
        other = first.setdefault(one.card.name, requested)
        if key(found[other]) != key(one):
            raise UserError(
                f"{other} and {requested} would both be called {one.card.name} in records and "
                "tables: give one of the files or cards another name"
            )
