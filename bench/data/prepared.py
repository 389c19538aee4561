"""The on-disk format of prepared data, and how it is found and read.

    <root>/prepared/<suite>/<source>/<variant>/
        images-000.tar ...      published files or PNG; uncompressed, so a member is a byte span
        <task>.<split>.tsv      one image a line, with the fields of `SplitEntry`
        card.json               sources, tools and certificates
        MANIFEST.sha256         of all of these, in the format of sha256sum

Tasks with the same images share a folder.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

from bench.config.suite import Split, Task
from bench.data.image_files import MAX_BYTES
from bench.records import parsing
from bench.utils import strict_json
from bench.utils.errors import UserError
from bench.utils.files import read_regular_file
from bench.utils.names import shorten

FORMAT = 1
LOSSLESS = "lossless"  # images as published, or lossless pixels
JPEG75 = "jpeg75"  # recompressed, as the copies in circulation are
VARIANTS = (LOSSLESS, JPEG75)
CARD_FILE, MANIFEST_FILE = "card.json", "MANIFEST.sha256"
MAX_TEXT_BYTES = 2**30  # of a list, a card or a manifest: millions of images
TAR_NAME = re.compile(r"images-[0-9]{3,6}\.tar")
MANIFEST_LINE = re.compile(r"([0-9a-f]{64})  ([^/\0]*[^/.\0][^/\0]*)")  # a name, not a path
NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")
SHA256 = re.compile(r"[0-9a-f]{64}")
SPLIT_PARTS: dict[Split, tuple[Split, ...]] = {"trainval": ("train", "val")}


_TarName = Annotated[str, Field(pattern=f"^{TAR_NAME.pattern}$")]
_Bytes = Annotated[int, Field(ge=0, strict=True)]


@validated(frozen=True, config=ConfigDict(extra="ignore"))
class _CardFields:
    """The entries of a card that are read; the rest is provenance."""

    variant: str
    tars: dict[_TarName, _Bytes]
    certificates: dict[str, dict[str, str]]
    warnings: Annotated[list[str], Field(default_factory=list)]


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
    content = _read_file(path)
    wanted = read_manifest(path.parent).get(path.name)
    try:
        if hashlib.sha256(content).hexdigest() == wanted:
            return content.decode()
    except UnicodeDecodeError:
        pass
    raise UserError(
        f"E-MANIFEST {path} is not the file that was prepared; prepare it again with --force"
    )


def _read_file(path: Path) -> bytes:
    try:
        return read_regular_file(path, MAX_TEXT_BYTES, follow_links=True)
    except OSError as error:
        raise UserError(f"E-MANIFEST {path} cannot be read: {error.strerror}") from None


def _parse_entries(path: Path, text: str) -> Iterator[SplitEntry]:
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else (), start=1):
        try:
            yield _parse_entry(line)
        except ValueError:
            raise UserError(f"E-MANIFEST {path}:{number}: not a line of a list") from None


def _parse_entry(line: str) -> SplitEntry:
    """Parse a line of a list; raise `ValueError` for one that no writer writes."""
    label, source, key, tar, offset, size, sha256 = line.split("\t")
    numbers = all(map(NUMBER.fullmatch, (label, offset, size)))
    if not (numbers and TAR_NAME.fullmatch(tar) and SHA256.fullmatch(sha256)):
        raise ValueError(line)
    if int(size) > MAX_BYTES:
        raise ValueError(line)
    return SplitEntry(int(label), source, key, tar, int(offset), int(size), sha256)


def read_manifest(folder: Path) -> dict[str, str]:
    """Read the manifest: file name -> SHA-256."""
    path = folder / MANIFEST_FILE
    try:
        lines = _read_file(path).decode().splitlines()
    except UnicodeDecodeError:
        raise UserError(f"E-MANIFEST {path} cannot be read: it is not text") from None
    found = {}
    for number, line in enumerate(lines, start=1):
        if (parts := MANIFEST_LINE.fullmatch(line)) is None:
            raise UserError(f"E-MANIFEST {path}:{number}: expected a SHA-256 and a file's name")
        found[parts[2]] = parts[1]
    return found


def read_card(folder: Path) -> dict[str, Any]:
    """Read a prepared folder's card; raise `UserError` for another format version."""
    path = folder / CARD_FILE
    try:
        found = strict_json.parse(_read_verified(path))
    except ValueError as error:
        raise UserError(f"E-MANIFEST {path} is not JSON: {error}") from None
    given = found.get("format") if isinstance(found, dict) else None
    if given != FORMAT:
        raise UserError(f"{folder} has format {shorten(given)}; this version reads {FORMAT}")
    try:
        TypeAdapter(_CardFields).validate_python(found)
    except ValidationError as error:
        first = error.errors()[0]
        entry = str(first["loc"][0]) if first["loc"] else "entries"  # none: a name is at fault
        where = parsing.format_place(first["loc"]) or "card"
        raise UserError(
            f"E-MANIFEST {path} does not say its {entry}: {where}: {first['msg']}"
        ) from None
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
