"""Writes images and lists into a folder that is published whole or not at all."""

import hashlib
import io
import json
import os
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
from bench.data import images, prepared
from bench.data.prepared import SplitEntry
from bench.prepare.readers.base import ImageData, RecordKey
from bench.utils import files
from bench.utils.errors import UserError
from bench.utils.parallel import threaded_map

MAX_TAR_BYTES = 2**30  # bytes after which another tar is begun
TaskRows = Mapping[str, Mapping[Split, Sequence[SplitEntry]]]
SUFFIXES = {"JPEG": "jpg", "MPO": "jpg"}  # others: the format's own name


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image as it is kept."""

    name: RecordKey
    content: bytes
    suffix: str
    sha256: str


@dataclass(frozen=True, slots=True)
class TarSpan:
    """Where an image lies in the folder."""

    tar: str
    offset: int
    size: int
    sha256: str

    def row(self, label: int, name: RecordKey) -> SplitEntry:
        """The image in a list."""
        return SplitEntry(label, *name, self.tar, self.offset, self.size, self.sha256)


def encode_image(name: RecordKey, picture: ImageData) -> EncodedImage:
    """Bytes as published, if they decode; pixels as PNG. Raises `UserError` for what does not."""
    if isinstance(picture, np.ndarray):
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, "PNG")
        content, suffix = stream.getvalue(), "png"
    else:
        content, suffix = picture, _image_suffix(name, picture)
    return EncodedImage(name, content, suffix, hashlib.sha256(content).hexdigest())


def _image_suffix(name: RecordKey, content: bytes) -> str:
    """The usual ending of an image's file, whose every pixel can be read."""
    try:
        images.decode(content)
        with Image.open(io.BytesIO(content)) as image:
            return SUFFIXES.get(image.format or "", str(image.format).lower())
    except images.DECODE_ERRORS as error:
        start = content[:16]
        raise UserError(f"E-DECODE {'/'.join(name)}: {error}; it begins {start!r}") from None


def _encode_keyed(picture: tuple[RecordKey, ImageData]) -> EncodedImage:
    return encode_image(*picture)


class TarWriter:
    """Images go into numbered tar files, each of a size that copies well."""

    def __init__(self, folder: Path):
        self.folder, self.count, self.written = folder, 0, 0
        self._tar: tarfile.TarFile | None = None

    def add(self, image: EncodedImage) -> TarSpan:
        """Write an image behind the others."""
        tar = self._open()
        info = tarfile.TarInfo(f"{self.written:07d}.{image.suffix}")  # no time, no owner
        info.size = len(image.content)
        offset = tar.offset + tarfile.BLOCKSIZE
        tar.addfile(info, io.BytesIO(image.content))
        tar.members = []  # type: ignore[attr-defined]  # it would keep every header
        self.written += 1
        return TarSpan(Path(str(tar.name)).name, offset, info.size, image.sha256)

    def close(self) -> None:
        """End the last tar."""
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
    folder: Path, pictures: Iterable[tuple[RecordKey, ImageData]]
) -> dict[RecordKey, TarSpan]:
    """Keep the images; where each lies."""
    tars, spans = TarWriter(folder), {}
    try:
        for image in threaded_map(_encode_keyed, pictures):
            spans[image.name] = tars.add(image)
    finally:
        tars.close()
    return spans


def write_lists(folder: Path, rows: TaskRows) -> None:
    """Keep the lists of all splits."""
    for task, splits in rows.items():
        for split, found in splits.items():
            text = "".join(row.to_tsv() for row in found)
            (folder / prepared.list_name(task, split)).write_text(text)


def write_card(folder: Path, facts: Mapping[str, Any]) -> None:
    """Keep what is known of the folder, and the manifest of all that it holds."""
    tars = {path.name: path.stat().st_size for path in sorted(folder.glob("images-*.tar"))}
    whole = {"format": prepared.FORMAT, **facts, "tars": tars}
    (folder / prepared.CARD_FILE).write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n")
    lines = [f"{files.sha256_of_file(p)}  {p.name}\n" for p in sorted(folder.iterdir())]
    (folder / prepared.MANIFEST_FILE).write_text("".join(lines))


@contextmanager
def atomic_dir(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to write into, which takes its place at the end.

    What is left half-made, by an error or a kill, is never taken for `folder` and is removed.
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
    """Have the disk hold all of it before its name says that it is whole."""
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
