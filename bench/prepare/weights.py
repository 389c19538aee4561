"""Weights of backbones: which are here, downloads of the others, and checks of those that are."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import timm

from bench.config.backbone import RANDOM_WEIGHTS, BackboneCard, backbone_cards, load_backbone
from bench.config.loading import FETCHED_DIR
from bench.config.suite import Source, SourceFile
from bench.models import backbones, weight_files, weight_places
from bench.prepare import downloads
from bench.prepare.downloads.checksums import MAX_NOTE_BYTES, ByteProgress, format_bytes
from bench.utils import network
from bench.utils.errors import UserError
from bench.utils.files import HASH, read_regular_file
from bench.utils.network import Unreachable
from bench.utils.tables import terminal_lines

COLUMNS = ("backbone", "weights", "size", "licence", "source")
FREE = ("apache-2.0", "mit", "bsd-3-clause", "cc0-1.0", "cc-by-4.0")  # nothing to be accepted


@dataclass(frozen=True)
class Download:
    """A card's weights at an address, and the file that they will be."""

    card: BackboneCard
    url: str
    name: str  # of the file

    def file(self, headers: Mapping[str, str]) -> SourceFile:
        """Describe a file by the server's response, which on the hub includes its SHA-256."""
        known = {name.lower(): value for name, value in headers.items()}
        size = known.get("x-linked-size", "")  # other lengths may be those of a redirection
        etag = known.get("x-linked-etag", "").strip('"')
        return SourceFile(
            name=self.name,
            bytes=int(size) if size.isdecimal() else 0,
            sha256=self.card.sha256 or (etag if HASH.fullmatch(etag) else ""),
            urls=[self.url],
        )


def status_lines(names: Sequence[str]) -> Iterator[str]:
    """Yield a table of backbones: whether the weights are here, or how to get them."""
    cards = [_load(name) for name in names] or list(backbone_cards().values())
    yield from terminal_lines([_status(card) for card in cards], COLUMNS)


def _load(name: str) -> BackboneCard:
    """Load a card; one of a name of timm's gets timm's licence and source."""
    card = load_backbone(name)
    backbones.require_known(card)
    file = None if card.weights else weight_places.hub_file(card)
    if card.licence or file is None:
        return card
    settings = timm.get_pretrained_cfg(card.timm)
    page = f"https://huggingface.co/{file.repository}"
    return replace(card, licence=settings.license or "terms not known", source=page)


def _status(card: BackboneCard) -> tuple[str, ...]:
    path = None if card.weights == RANDOM_WEIGHTS else weight_places.find_here(card)
    if path:
        return card.name, f"here: {path}", format_bytes(path.stat().st_size), card.licence, ""
    if card.weights == RANDOM_WEIGHTS:
        return card.name, "none: it starts at random", "", card.licence, ""
    size = f"about {format_bytes(card.megabytes * 1e6)}" if card.megabytes else "not known"
    how = "to fetch" if _downloads(card) else "by hand"
    return card.name, how, size, card.licence, card.source


def _downloads(card: BackboneCard) -> list[Download]:
    """List where a card's weights can be downloaded from, in the order in which it is tried."""
    file = None if card.weights else weight_places.hub_file(card)
    hub = [Download(card, file.url(), weight_places.hub_name(card))] if file else []
    own = [Download(card, url, weight_places.fetched_name(card, url)) for url in card.urls]
    return [*hub, *own]


def fetch(names: Sequence[str], accepted: Collection[str], progress: ByteProgress) -> Iterator[str]:
    """Download the weights of backbones that are not here; yield a line about each.

    Raises `UserError` before any download for an unknown name, for terms that are not among the
    `accepted`, and for weights that no server has or that none can be reached for.
    """
    cards = [_load(name) for name in names]
    missing = [card for card in cards if weight_places.find_here(card) is None]
    for card in missing:
        _require_downloadable(card, accepted)
    places = [place for card in missing for place in _downloads(card)]
    answers = network.heads(place.url for place in places)
    for card in missing:
        _require_reachable(card, answers)
    for card in cards:
        path = weight_places.find_here(card) or _fetch(card, answers, progress)
        yield f"{card.name}: {path}, sha256 {weight_files.sha256(path)}"


def _require_downloadable(card: BackboneCard, accepted: Collection[str]) -> None:
    if not _downloads(card):
        raise UserError(
            f"no known server has the weights of {card.name}: get them by hand, and name "
            f"them as --backbones {card.name}@FILE"
        )
    if card.licence and card.licence not in (*FREE, *accepted):
        raise UserError(
            f"the weights of {card.name} are under {card.licence} ({card.source}): read its terms, "
            f"then add --accept-license {card.licence}"
        )


def _require_reachable(
    card: BackboneCard, answers: Mapping[str, Mapping[str, str] | Unreachable]
) -> None:
    failures = {place.url: answers[place.url] for place in _downloads(card)}
    if all(isinstance(answer, Unreachable) for answer in failures.values()):
        said = "; ".join(f"{url}: {reason}" for url, reason in failures.items())
        raise UserError(f"the weights of {card.name} cannot be downloaded ({said})")


def _fetch(
    card: BackboneCard,
    answers: Mapping[str, Mapping[str, str] | Unreachable],
    progress: ByteProgress,
) -> Path:
    """Download a card's weights from the first server that answered, or the next ones."""
    failures = []
    for place in _downloads(card):
        headers = answers[place.url]
        if isinstance(headers, Unreachable):
            continue
        file = place.file(headers)
        try:
            return downloads.fetch(_source(card, file), file, FETCHED_DIR, progress)
        except UserError as error:
            failures.append(str(error))
    raise UserError("; ".join(failures))


def _source(card: BackboneCard, file: SourceFile) -> Source:
    """Return a card as the source of one file, whose terms have been accepted."""
    return Source(
        name="weights",
        title=card.name,
        format="weights",
        native="png",
        licence=card.licence,
        home=card.source,
        access="open",
        prepared_bytes=0,
        file=[file],
    )


def check(names: Sequence[str], failed: list[str]) -> Iterator[str]:
    """Load the weights of backbones, of all that are here by default; yield a line about each.

    What is wrong with one is appended to `failed`, and the others are checked all the same.
    """
    for name in names or [c.name for c in backbone_cards().values() if weight_places.find_here(c)]:
        try:
            yield _check(name)
        except UserError as error:
            failed.append(str(error))


def _check(name: str) -> str:
    card = load_backbone(name)
    if card.weights != RANDOM_WEIGHTS and weight_places.find_here(card) is None:
        raise UserError(f"the weights of {name} are not here; see python -m bench weights status")
    found = backbones.find(name)
    if found.weights is None:
        return f"{found.card.name}: no weights, it starts at random"
    _require_as_fetched(found.weights)
    said = "".join(f"; {note}" for note in found.notes)
    return f"{found.card.name}: {found.weights}, sha256 {found.sha256[:12]}, fits{said}"


def _require_as_fetched(path: Path) -> None:
    """Raise `UserError` for a downloaded file whose content is not the one that was verified."""
    try:
        note = json.loads(
            read_regular_file(path.with_name(f"{path.name}.verified"), MAX_NOTE_BYTES)
        )
        noted = str(note.get("sha256", ""))
    except (OSError, ValueError, AttributeError, RecursionError):
        return  # it was not fetched
    if noted and noted != weight_files.sha256(path):
        raise UserError(
            f"{path} has changed since it was downloaded: delete it, and fetch it again"
        )
