"""Writer of prepared folders: images, lists, card and manifest, published atomically."""

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image

from bench.config.suite import Split
from bench.data import image_files, images, prepared
from bench.data.prepared import SplitEntry
from bench.prepare.readers.base import ImageData, RecordKey
from bench.utils import files
from bench.utils.errors import UserError
from bench.utils.parallel import threaded_map

MAX_TAR_BYTES = 2**30  # a tar that exceeds this is closed, and another begun
TaskRows = Mapping[str, Mapping[Split, Sequence[SplitEntry]]]
NOT_IN_A_LINE = re.compile(r"[\t\n\r\0\ud800-\udfff]")
SUFFIXES = {"JPEG": "jpg", "MPO": "jpg"}  # of other formats: their names


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """The file of an image, to be written."""

    key: RecordKey
    content: bytes
    suffix: str
    sha256: str


@dataclass(frozen=True, slots=True)
class TarSpan:
    """The location of an image in a prepared folder."""

    tar: str
    offset: int
    size: int
    sha256: str

    def row(self, label: int, key: RecordKey) -> SplitEntry:
        """Return the image's line of a list."""
        return SplitEntry(label, *key, self.tar, self.offset, self.size, self.sha256)


def require_plain_key(key: RecordKey) -> None:
    """Raise `UserError` for a key that no line of a list can hold."""
    name = "/".join(key)
    if NOT_IN_A_LINE.search(name):
        raise UserError(
            f"E-PATH {name!a}: a list cannot contain a tab, a line break or a lone surrogate"
        )


def encode_image(key: RecordKey, image: ImageData) -> EncodedImage:
    """Encode pixels as PNG, keep files as published; raise `UserError` for undecodable files."""
    require_plain_key(key)
    if isinstance(image, np.ndarray):
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "PNG")
        content, suffix = stream.getvalue(), "png"
    else:
        content, suffix = image, _image_suffix(key, image)
    return EncodedImage(key, content, suffix, hashlib.sha256(content).hexdigest())


def _image_suffix(key: RecordKey, content: bytes) -> str:
    """Decode a file as a check; return the usual suffix of its format."""
    try:
        images.decode(content)
        with image_files.open_image(content) as image:
            return SUFFIXES.get(image.format or "", str(image.format).lower())
    except image_files.DECODE_ERRORS as error:
        start = content[:16]
        raise UserError(f"E-DECODE {'/'.join(key)}: {error}; it begins {start!r}") from None


def _encode_keyed(keyed_image: tuple[RecordKey, ImageData]) -> EncodedImage:
    return encode_image(*keyed_image)


class TarWriter:
    """Writer of images to numbered tar files of a size that is easy to copy."""

    def __init__(self, folder: Path):
        self.folder, self.count, self.written = folder, 0, 0
        self._tar: tarfile.TarFile | None = None

    def add(self, image: EncodedImage) -> TarSpan:
        """Append an image; return its location."""
        tar = self._open()
        info = tarfile.TarInfo(f"{self.written:07d}.{image.suffix}")  # without time and owner
        info.size = len(image.content)
        offset = tar.offset + tarfile.BLOCKSIZE
        tar.addfile(info, io.BytesIO(image.content))
        tar.members = []  # type: ignore[attr-defined]  # or all headers stay in memory
        self.written += 1
        return TarSpan(Path(str(tar.name)).name, offset, info.size, image.sha256)

    def close(self) -> None:
        """Close the last tar."""
        if self._tar is not None:
            self._tar.close()

    def _open(self) -> tarfile.TarFile:
        if self._tar is not None and self._tar.offset > MAX_TAR_BYTES:
            self._tar.close()
            self._tar = None
        if self._tar is None:
            name = self.folder / f"images-{self.count:03d}.tar"
            self._tar = tarfile.open(name, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
            self.count += 1
        return self._tar


def write_images(
    folder: Path, keyed_images: Iterable[tuple[RecordKey, ImageData]]
) -> dict[RecordKey, TarSpan]:
    """Write images; return the location of each."""
    tars, spans = TarWriter(folder), {}
    try:
        for image in threaded_map(_encode_keyed, keyed_images):
            spans[image.key] = tars.add(image)
    finally:
        tars.close()
    return spans


def write_lists(folder: Path, rows: TaskRows) -> None:
    """Write the lists of all splits."""
    for task, splits in rows.items():
        for split, listed in splits.items():
            text = "".join(row.to_tsv() for row in listed)
            (folder / prepared.list_name(task, split)).write_text(text, encoding="utf-8")


def write_card(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the folder's card, and the manifest of all its files."""
    tars = {path.name: path.stat().st_size for path in sorted(folder.glob("images-*.tar"))}
    card = {"format": prepared.FORMAT, **facts, "tars": tars}
    (folder / prepared.CARD_FILE).write_text(
        json.dumps(card, indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )
    lines = [f"{files.sha256_of_file(p)}  {p.name}\n" for p in sorted(folder.iterdir())]
    (folder / prepared.MANIFEST_FILE).write_text("".join(lines), encoding="utf-8")


@contextmanager
def atomic_dir(folder: Path) -> Iterator[Path]:
    """Create a temporary folder next to `folder` to write into, which replaces it at the end.

    After an error or a kill, the incomplete folder is never taken for `folder`, and is removed.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    with _folder_lock(folder):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            yield partial
            _fsync_files(partial)
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0):
            yield
    except Timeout:
        raise UserError(f"{folder} is being prepared by another process; wait for it") from None


def _fsync_files(folder: Path) -> None:
    """Flush all files to disk, before the folder's name says that it is complete."""
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
