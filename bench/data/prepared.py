"""The on-disk format of prepared data, and how it is found and read.

    <root>/prepared/<suite>/<source>/<variant>/
        images-000.tar ...      published files or PNG; uncompressed, so a member is a byte span
        <task>.<split>.tsv      one image a line, with the fields of `SplitEntry`
        card.json               sources, tools and certificates
        MANIFEST.sha256         of all of these, in the format of sha256sum

Tasks with the same images share a folder.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from bench.config.suite import Split, Task
from bench.utils.errors import UserError

FORMAT = 1
LOSSLESS = "lossless"  # images as published, or lossless pixels
JPEG75 = "jpeg75"  # recompressed, as the copies in circulation are
VARIANTS = (LOSSLESS, JPEG75)
CARD_FILE, MANIFEST_FILE = "card.json", "MANIFEST.sha256"
REQUIRED_KEYS = {"variant": str, "tars": dict, "certificates": dict}  # of a card
SPLIT_PARTS: dict[Split, tuple[Split, ...]] = {"trainval": ("train", "val")}


@dataclass(frozen=True, slots=True)
class SplitEntry:
    """One image of a split: its class, its key in the source, and the span of its bytes."""

    label: int
    source: str  # the source's split
    key: str
    tar: str
    offset: int  # bytes
    size: int  # bytes
    sha256: str

    @property
    def origin(self) -> str:
        """The image's name, for messages."""
        return f"{self.source}/{self.key}"

    def to_tsv(self) -> str:
        """Format the line of the list."""
        return "\t".join(map(str, astuple(self))) + "\n"


def prepared_dir(root: Path, suite: str, source: str, variant: str) -> Path:
    """Return the folder of the prepared data of a source, or of a task imported by itself."""
    return root / "prepared" / suite / Path(source).stem / variant


def list_name(task: str, split: str) -> str:
    """Return the file name of a split's list."""
    return f"{task}.{split}.tsv"


def find_prepared(root: Path, suite: str, task: Task, variant: str) -> Path | None:
    """Return the prepared folder of a task in a variant, or None."""
    for source in filter(None, (task.source, task.name)):
        folder = prepared_dir(root, suite, source, variant)
        if (folder / list_name(task.name, "test")).is_file():
            return folder
    return None


def available_variants(root: Path, suite: str, task: Task) -> list[str]:
    """List the variants in which a task is prepared."""
    return [variant for variant in VARIANTS if find_prepared(root, suite, task, variant)]


def read_entries(folder: Path, task: str, split: Split) -> list[SplitEntry]:
    """Read a split's list; raise `UserError` if it differs from the manifest."""
    found: list[SplitEntry] = []
    for part in SPLIT_PARTS.get(split, (split,)):
        path = folder / list_name(task, part)
        found += _parse_entries(path, _read_verified(path))
    return found


def _read_verified(path: Path) -> str:
    """Read a text file and check it against the manifest."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"E-MANIFEST {path} cannot be read: {error.strerror}") from None
    wanted = read_manifest(path.parent).get(path.name)
    try:
        if hashlib.sha256(content).hexdigest() == wanted:
            return content.decode()
    except UnicodeDecodeError:
        pass
    raise UserError(
        f"E-MANIFEST {path} is not the file that was prepared; prepare it again with --force"
    )


def _parse_entries(path: Path, text: str) -> Iterator[SplitEntry]:
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            label, source, key, tar, offset, size, sha256 = line.split("\t")
            yield SplitEntry(int(label), source, key, tar, int(offset), int(size), sha256)
        except ValueError:
            raise UserError(f"E-MANIFEST {path}:{number}: not a line of a list") from None


def read_manifest(folder: Path) -> dict[str, str]:
    """Read the manifest: file name -> SHA-256."""
    try:
        lines = (folder / MANIFEST_FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UserError(f"E-MANIFEST {folder / MANIFEST_FILE} cannot be read: {why}") from None
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def read_card(folder: Path) -> dict[str, Any]:
    """Read a prepared folder's card; raise `UserError` for another format version."""
    try:
        found = json.loads(_read_verified(folder / CARD_FILE))
    except json.JSONDecodeError as error:
        raise UserError(f"E-MANIFEST {folder / CARD_FILE} is not JSON: {error}") from None
    given = found.get("format") if isinstance(found, dict) else None
    if given != FORMAT:
        raise UserError(f"{folder} has format {given}; this version reads {FORMAT}")
    for name, kind in REQUIRED_KEYS.items():
        if not isinstance(found.get(name), kind):
            raise UserError(f"E-MANIFEST {folder / CARD_FILE} does not say its {name}")
    return found


def require_complete(folder: Path) -> dict[str, Any]:
    """Return the card if every tar has its recorded size and the folder its variant's name."""
    found = read_card(folder)
    if found["variant"] != folder.name:
        raise UserError(f"E-VARIANT {folder}: its card says {found['variant']}")
    for name, size in found["tars"].items():
        path = folder / name
        there = path.stat().st_size if path.is_file() else 0
        if there != size:
            raise UserError(f"E-MANIFEST {path} has {there:,} bytes; {size:,} were prepared")
    return found
