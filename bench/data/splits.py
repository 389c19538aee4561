"""The splits of a task: loading and checking of images and labels, and their fingerprints."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.config.suite import Split, Suite, Task
from bench.data import embedded, image_files, images, locations, prepared, synthetic
from bench.data.prepared import SplitEntry
from bench.data.synthetic import Drawing
from bench.records.schema import SYNTHETIC
from bench.utils.errors import UserError
from bench.utils.files import open_regular_file, read_regular_file, run_once, sha256_of_files

CERTIFICATE_IMAGES = 16  # images of a split whose decoded pixels enter its certificate
MAX_CHECKED_IMAGES = 20_000  # image files of a split that are opened before training
NAMES = "utf-8", "surrogateescape"  # encoding of file names: any bytes, as the system has them
ByteSpan = tuple[int, int]  # offset and length of an image in a file, in bytes


@dataclass(frozen=True)
class Examples:
    """The labels of a split and its images, as pixels, as files, or to be drawn."""

    labels: Tensor  # (B,)
    pixels: Tensor | None = None  # uint8, (B, 3, H, W)
    files: tuple[Path, ...] = ()
    spans: tuple[ByteSpan, ...] = ()  # of each image in its file; empty: the whole file
    origins: tuple[str, ...] = ()  # list file and line of each image, for messages
    names: tuple[str, ...] = ()  # of each image in its source
    hashes: tuple[str, ...] = ()  # SHA-256 of each image's bytes, from a prepared list
    drawings: tuple[Drawing, ...] = ()  # of synthetic images

    def __len__(self) -> int:
        return len(self.labels)


def load_split(
    suite: Suite, task: Task, split: Split, root: Path, variant: str | None = None
) -> Examples:
    """Load a split; its images are checked but not decoded.

    Without a `variant`, the lossless one if it is prepared or built in, else the folder as found.
    Raises `UserError` if the data are missing or a list file names a missing image.
    """
    listed = task.listed_as(split)
    if task.embedded:
        return _load_builtin(task, listed, variant)
    place = locations.find(suite, task, root, variant)
    if place.variant == SYNTHETIC:
        examples = to_be_drawn(task, listed, range(task.classes))
    elif place.variant:
        require_unchanged(place.folder)
        examples = from_prepared(
            place.folder, prepared.read_entries(place.folder, task.name, listed)
        )
        _require_labels(task, split, examples, place.folder)
    else:
        examples = read_folder(suite, task, split, place.folder)
    require_counts(task, split, len(examples), place.folder)
    return examples


def _load_builtin(task: Task, split: Split, variant: str | None) -> Examples:
    """Load a split of a built-in task; of a few-shot task's train, the images of its draw."""
    made = embedded.load(task.embedded, split, variant)
    pixels = torch.from_numpy(made.images).permute(0, 3, 1, 2).contiguous()
    examples = Examples(torch.from_numpy(made.labels), pixels)
    if task.draw is None or split != "train":
        return examples
    return draw_shots(examples, task.draw.shots, task.draw.list)


def subset(examples: Examples, index: Tensor) -> Examples:
    """Return the examples with these indices, (B,)."""
    numbers = index.tolist()
    lists = {
        name: getattr(examples, name)
        for name in ("files", "spans", "origins", "names", "hashes", "drawings")
    }
    return Examples(
        examples.labels[index],
        None if examples.pixels is None else examples.pixels[index],
        **{name: tuple(found[i] for i in numbers) for name, found in lists.items() if found},
    )


def stratified_subset(examples: Examples, share: float, seed: int) -> Examples:
    """Sample a `share` of each class, rounded up, in the original order.

    With the same seed, a smaller share is a subset of a larger one.
    """
    shuffled = _shuffled_classes(examples, seed)
    found = torch.cat([of_class[: ceil(share * len(of_class))] for of_class in shuffled])
    return subset(examples, found.sort().values)


def draw_shots(examples: Examples, shots: int, seed: int) -> Examples:
    """Draw so many images of each class, in the original order; of a class with fewer, all.

    With the same seed, fewer shots are a subset of more.
    """
    found = torch.cat([of_class[:shots] for of_class in _shuffled_classes(examples, seed)])
    return subset(examples, found.sort().values)


def _shuffled_classes(examples: Examples, seed: int) -> list[Tensor]:
    """Return the indices of each class's images, in a random order."""
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed))
    labels = examples.labels[order]
    return [order[labels == label] for label in labels.unique()]


def from_prepared(folder: Path, rows: Sequence[SplitEntry]) -> Examples:
    """Return the examples of entries of a prepared folder."""
    return Examples(
        torch.tensor([row.label for row in rows]),
        files=tuple(folder / row.tar for row in rows),
        spans=tuple((row.offset, row.size) for row in rows),
        origins=tuple(f"{folder}: {row.source}/{row.key}" for row in rows),
        names=tuple(f"{row.source}/{row.key}" for row in rows),
        hashes=tuple(row.sha256 for row in rows),
    )


def to_be_drawn(task: Task, split: Split, classes: Sequence[int]) -> Examples:
    """Return the synthetic examples of a split, with labels of these classes."""
    parts = prepared.SPLIT_PARTS.get(split, (split,))
    rows = tuple(one for part in parts for one in synthetic.drawings(task, part, classes))
    return Examples(
        torch.tensor([row.label for row in rows]),
        origins=tuple(f"{SYNTHETIC} {task.name}/{row.name}" for row in rows),
        names=tuple(row.name for row in rows),
        hashes=tuple(row.digest() for row in rows),
        drawings=rows,
    )


def require_unchanged(folder: Path) -> None:
    """Raise `UserError` if the images of a prepared folder have changed since preparation.

    Its files are read once; their hashes are cached.
    """
    tars = [folder / name for name in prepared.require_complete(folder)["tars"]]
    wanted = prepared.read_manifest(folder)
    there = hash_files(folder, tars)
    for tar, found in zip(tars, there, strict=True):
        if wanted.get(tar.name) != found:
            raise UserError(f"E-MANIFEST {tar}: its bytes have changed since it was prepared")


def hash_images(folder: Path, files: Sequence[Path]) -> list[str]:
    """Return the SHA-256 of each image file; raise `UserError` for a file that is not an image."""
    return hash_files(folder, files, image_files.MAX_BYTES)


def hash_files(folder: Path, files: Sequence[Path], limit: int | None = None) -> list[str]:
    """Hash files as `sha256_of_files` does; raise `UserError` for one that cannot be read."""
    try:
        return sha256_of_files(folder, files, limit)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from None


def read_folder(suite: Suite, task: Task, split: Split, folder: Path) -> Examples:
    """Load a split from a folder of images with list files, the usual layout of shared copies."""
    examples = from_list_files(suite, task, split, folder)
    _require_files(examples.files, examples.origins)
    return examples


def from_list_files(suite: Suite, task: Task, split: Split, folder: Path) -> Examples:
    """Return the examples in the list files of a split, whether or not the images exist."""

    def content(name: str) -> bytes:
        return read_regular_file(folder / name, locations.MAX_LIST_BYTES, follow_links=True)

    lines = [
        line
        for name in suite.lists[split]
        for line in locations.read_list(str(folder), name, content)
    ]
    files = tuple(folder / task.images / path for path, _, _ in lines)
    numbers = locations.class_numbers(suite, task, str(folder), content, lines)
    origins = tuple(origin for _, _, origin in lines)
    called = tuple(f"{file.parent.name}/{file.name}" for file in files)
    return Examples(torch.tensor(numbers), files=files, origins=origins, names=called)


def fingerprint(examples: Examples, folder: Path | None = None) -> str:
    """Hash images, labels and their order to 16 hex digits.

    Every byte counts: the pixels of built-in images; name and SHA-256 of each file in a `folder`.
    """
    found = _hash_labels(examples)
    if examples.pixels is not None:
        found.update(examples.pixels.numpy().tobytes())
    bytes_ = examples.hashes or (hash_images(folder, examples.files) if folder else ())
    for name, sha256 in zip(examples.names, bytes_, strict=True):
        found.update(f"{name} {sha256}\n".encode(*NAMES))
    return found.hexdigest()[:16]


def checked_digest(examples: Examples, folder: Path | None) -> str:
    """Return a split's fingerprint; its images are looked into once per fingerprint."""
    found = fingerprint(examples, folder)
    run_once("image-files", found, lambda: require_images(examples))
    return found


def certificate(examples: Examples) -> str:
    """Hash labels, names and the decoded pixels of `CERTIFICATE_IMAGES` images to 16 hex digits.

    Another version of a decoder may give other pixels for the same bytes.
    """
    found = _hash_labels(examples)
    for name in examples.names:
        found.update(f"{name}\n".encode(*NAMES))
    for index in evenly_spaced(len(examples.files), CERTIFICATE_IMAGES):
        found.update(decode(examples, index).numpy().tobytes())
    return found.hexdigest()[:16]


def _hash_labels(examples: Examples) -> "hashlib._Hash":
    return hashlib.sha256(examples.labels.numpy().astype(np.int64).tobytes())


def evenly_spaced(count: int, most: int) -> list[int]:
    """Return at most `most` evenly spaced indices below `count`."""
    return sorted({count * i // most for i in range(most)}) if count else []


def read_bytes(examples: Examples, index: int) -> bytes:
    """Read the bytes of an image file; raises one of `DECODE_ERRORS`."""
    if not examples.spans:
        return image_files.read_image_file(examples.files[index])
    offset, size = examples.spans[index]
    with open_regular_file(examples.files[index], follow_links=True) as file:
        file.seek(offset)
        return file.read(size)


def decode(examples: Examples, index: int) -> Tensor:
    """Decode or draw an image: uint8, (3, H, W). Raises `UserError` if that fails."""
    if examples.drawings:
        return synthetic.draw(examples.drawings[index])
    try:
        return images.decode(read_bytes(examples, index))
    except images.DECODE_ERRORS as error:
        raise image_error(examples, index, f"cannot be decoded: {error}") from None


def require_images(examples: Examples) -> None:
    """Raise `UserError` for the first file that is not a readable image.

    Only headers are read, of at most `MAX_CHECKED_IMAGES` files: opening a million takes an hour.
    """
    for index in evenly_spaced(len(examples.files), MAX_CHECKED_IMAGES):
        file = examples.files[index]
        try:
            images.require_readable(read_bytes(examples, index) if examples.spans else file)
        except images.DECODE_ERRORS as error:
            raise image_error(examples, index, f"is not an image to learn from: {error}") from None


def image_error(examples: Examples, index: int, what: str) -> UserError:
    """Return the error about an image, with its list file and line."""
    return UserError(f"{examples.origins[index]}: {examples.files[index]} {what}")


def require_counts(task: Task, split: Split, count: int, folder: Path) -> None:
    """Raise `UserError` for a number of images that the task's card does not allow."""
    allowed = task.counts.get(split)
    if not count or (allowed and count not in allowed):
        wanted = " or ".join(map(str, allowed)) if allowed else "some"
        raise UserError(
            f"{folder}: {count} images in the {split} split of {task.name}; there must be {wanted}"
        )


def _require_labels(task: Task, split: Split, examples: Examples, folder: Path) -> None:
    """Raise `UserError` for labels that a prepared list has and the task's card has not."""
    highest = int(examples.labels.max()) if len(examples) else 0
    if highest >= task.classes:
        raise UserError(
            f"E-LABEL {task.name}/{split}: {folder} has label {highest}; expected 0 to "
            f"{task.classes - 1}"
        )


def _require_files(files: tuple[Path, ...], origins: tuple[str, ...]) -> None:
    present: dict[Path, set[str]] = {}
    for file, origin in zip(files, origins, strict=True):
        if file.parent not in present:
            present[file.parent] = _names_in(file.parent)
        if file.name not in present[file.parent]:
            raise UserError(f"{origin}: no image {file}")


def _names_in(folder: Path) -> set[str]:
    """Return the names in a folder; none if there is no such folder, or can be none."""
    try:
        return set(os.listdir(folder))
    except PermissionError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}") from None
    except (OSError, ValueError):
        return set()
