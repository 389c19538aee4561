"""Where a backbone's weights are: in a file of its card's, a fetched one, or timm's on the hub."""

import os
from dataclasses import dataclass
from pathlib import Path

import timm

from bench.config.backbone import RANDOM_WEIGHTS, BackboneCard
from bench.config.loading import FETCHED_DIR, WEIGHTS_DIR
from bench.models import weight_checks
from bench.utils import network
from bench.utils.errors import UserError, first_line

HUB_FILE = "model.safetensors"


@dataclass(frozen=True)
class HubFile:
    """A file of timm's on the Hugging Face hub."""

    repository: str
    name: str

    def url(self) -> str:
        """Return its address at the hub that the environment names."""
        from huggingface_hub import hf_hub_url  # slow to import

        return str(hf_hub_url(self.repository, self.name))


def find(card: BackboneCard, requested_name: str) -> Path | None:
    """Find the card's weights file, or download timm's if it names none; None for ``random``.

    Raises `UserError` if there is no such file, and for one that can be no weights.
    """
    if card.weights == RANDOM_WEIGHTS:
        return None
    path = find_here(card)
    if path is None and not card.weights:
        path = _download(card, requested_name)
    if path is None:
        raise UserError(_say_missing(card, requested_name))
    weight_checks.require_weights_file(path)
    return path


def find_here(card: BackboneCard) -> Path | None:
    """Return the card's weights file, or timm's, if it is on this machine; asks no server."""
    for path in candidates(card):
        if os.path.exists(path):  # False, too, for a name that no file can have
            return path
    file = None if card.weights else hub_file(card)
    if file is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(file.repository, file.name)
    return Path(cached) if isinstance(cached, str) else None


def candidates(card: BackboneCard) -> list[Path]:
    """List the files that may hold a card's weights: its own places, then the download folder."""
    own = [Path(card.weights), WEIGHTS_DIR / card.weights] if card.weights else []
    fetched = [] if card.weights else [FETCHED_DIR / hub_name(card)]
    return [*own, *fetched, *(FETCHED_DIR / fetched_name(card, url) for url in card.urls)]


def hub_name(card: BackboneCard) -> str:
    """Return the path below the fetched weights of timm's file on the hub."""
    return f"{card.timm}.safetensors"


def fetched_name(card: BackboneCard, url: str) -> str:
    """Return the path below the fetched weights of a card's file at `url`.

    It is in a folder of the card's: files of several have one name.
    """
    return f"{card.name.partition('[')[0]}/{url.rpartition('/')[2]}"


def hub_file(card: BackboneCard) -> HubFile | None:
    """Return timm's file of the card's model on the hub, or None."""
    settings = timm.get_pretrained_cfg(card.timm)
    if not (settings and settings.hf_hub_id):
        return None
    return HubFile(settings.hf_hub_id, settings.hf_hub_filename or HUB_FILE)


def _say_missing(card: BackboneCard, requested_name: str) -> str:
    looked = " and ".join(map(str, candidates(card)[:2]))
    fetch = f"python -m bench weights fetch {card.name} gets them ({card.licence})"
    ways = [fetch if card.urls else "", "" if "@" in requested_name else _hint(requested_name)]
    said = [f"the weights of {card.name} are not there: looked for {looked}", *filter(None, ways)]
    return "; ".join(said)


def _hint(requested_name: str) -> str:
    return f"with the file at hand, name it as --backbones {requested_name}@FILE"


def _download(card: BackboneCard, requested_name: str) -> Path:
    """Download timm's weights to the hub's own cache, after one attempt to reach the hub."""
    from huggingface_hub import hf_hub_download  # slow to import; cards with a file never need it

    file, hint = hub_file(card), f"{_hint(requested_name)}.safetensors"
    if file is None:
        raise UserError(f"timm has no weights of {card.name}; {hint}")
    try:
        network.head(file.url())
        return Path(hf_hub_download(file.repository, file.name))
    except Exception as error:  # the hub's client raises many kinds, with the same meaning here
        raise UserError(
            f"the weights of {card.name} are not on this machine and could not be downloaded from "
            f"{file.repository} ({first_line(error)}); {hint}"
        ) from None
