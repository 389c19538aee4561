"""A task's splits: which images with which labels, read from where they lie and checked."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from bench import embedded, hashes, images, lists, places, stores
from bench.cards import Suite
from bench.errors import UserError, unknown
from bench.images import File
from bench.stores import Row
from bench.tasks import Split, Task

SEEN = 16  # images of a split whose pixels stand in its certificate
OPENED = 20_000  # files of a split that are looked into before it is learnt or scored
T = TypeVar("T")
Span = tuple[int, int]  # where in a file an image's bytes begin, and how many there are


@dataclass(frozen=True)
class Examples:
    """The images of a split, as pixels or as files, and their labels."""

    labels: Tensor  # (B,)
    pixels: Tensor | None = None  # uint8, (B, 3, H, W)
    files: tuple[Path, ...] = ()
    spans: tuple[Span, ...] = ()  # of each image in its file; empty: the whole file
    origins: tuple[str, ...] = ()  # list file and line of each image, for messages
    names: tuple[str, ...] = ()  # what each image is called where it comes from
    sha256s: tuple[str, ...] = ()  # of the bytes of each image

    def __len__(self) -> int:
        return len(self.labels)


def read(
    suite: Suite, task: Task, split: Split, root: Path, variant: str | None = None
) -> Examples:
    """The examples of a split, checked but not decoded.

    Without a `variant`, the lossless one where it is prepared, else the folder as found.
    Raises `UserError` where the data are absent or a list file names what is not there.
    """
    if task.embedded:
        if task.embedded not in embedded.TASKS:
            raise unknown("embedded task", task.embedded, embedded.TASKS)
        made = embedded.TASKS[task.embedded]()[split]
        pixels = torch.from_numpy(made.images).permute(0, 3, 1, 2).contiguous()
        return Examples(torch.from_numpy(made.labels), pixels)
    place = places.find(suite, task, root, variant)
    if place.variant:
        stores.require_whole(place.folder)
        rows = stores.rows(place.folder, task.name, split)
        require_tars(place.folder, rows)
        examples = in_store(place.folder, rows)
    else:
        examples = read_folder(suite, task, split, place.folder)
    require_counts(task, split, len(examples), place.folder)
    return examples


def chosen(examples: Examples, index: Tensor) -> Examples:
    """Some of the examples, by their numbers, (B,)."""
    numbers = index.tolist()
    kinds = ("files", "spans", "origins", "names", "sha256s")
    lists = {name: getattr(examples, name) for name in kinds}
    return Examples(
        examples.labels[index],
        None if examples.pixels is None else examples.pixels[index],
        **{name: tuple(found[i] for i in numbers) for name, found in lists.items() if found},
    )


def part(examples: Examples, share: float, seed: int) -> Examples:
    """A `share` of each class's examples, rounded up, drawn by `seed`; in the order they have.

    Of one seed, a smaller share lies within a larger.
    """
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed))
    labels = examples.labels[order]
    drawn = [order[labels == label] for label in labels.unique()]
    found = torch.cat([of_class[: ceil(share * len(of_class))] for of_class in drawn])
    return chosen(examples, found.sort().values)


def in_store(folder: Path, rows: Sequence[Row]) -> Examples:
    """The examples that lists of a prepared folder name."""
    return Examples(
        torch.tensor([row.label for row in rows]),
        files=tuple(folder / row.tar for row in rows),
        spans=tuple((row.offset, row.size) for row in rows),
        origins=tuple(f"{folder}: {row.source}/{row.key}" for row in rows),
        names=tuple(f"{row.source}/{row.key}" for row in rows),
        sha256s=tuple(row.sha256 for row in rows),
    )


def require_tars(folder: Path, rows: Sequence[Row]) -> None:
    """Raise `UserError` unless the tars of these images are, byte for byte, what was prepared.

    Each is read once, and again only when it has changed.
    """
    tars = tuple(folder / name for name in sorted({row.tar for row in rows}))
    wanted = stores.manifest(folder)
    for tar, sha256 in zip(tars, _hashes(folder, tars, tars), strict=True):
        if sha256 != wanted.get(tar.name):
            raise UserError(f"E-MANIFEST {tar}: its bytes have changed since it was prepared")


def read_folder(suite: Suite, task: Task, split: Split, folder: Path) -> Examples:
    """The examples of a split from a folder of images and lists, as the field shares them."""

    def content(name: str) -> bytes:
        return (folder / name).read_bytes()

    lines = [
        line for name in suite.lists[split] for line in lists.lines(str(folder), name, content)
    ]
    files = tuple(folder / task.images / path for path, _, _ in lines)
    numbers = lists.class_numbers(suite, task, str(folder), content, lines)
    origins = tuple(origin for _, _, origin in lines)
    _require_files(files, origins)
    called = tuple(f"{file.parent.name}/{file.name}" for file in files)
    sha256s = tuple(_hashes(folder, files, origins))
    return Examples(
        torch.tensor(numbers), files=files, origins=origins, names=called, sha256s=sha256s
    )


def digest(examples: Examples) -> str:
    """16 hex digits that stand for which images with which labels, and in which order.

    Every image counts: by its pixels where it has any, else by its name and its file's bytes.
    """
    assert examples.pixels is not None or len(examples.sha256s) == len(examples)
    content = hashlib.sha256(_called(examples))
    if examples.pixels is not None:
        content.update(examples.pixels.numpy().tobytes())
    for sha256 in examples.sha256s:
        content.update(f"{sha256}\n".encode())
    return content.hexdigest()[:16]


def certificate(examples: Examples) -> str:
    """16 hex digits that stand for how files decode here: names, labels, and some of the pixels.

    Unlike `digest`, which is that of the bytes, it tells one decoder from another.
    """
    content = hashlib.sha256(_called(examples))
    for index in spread(len(examples.files), SEEN):
        content.update(opened(examples, index).numpy().tobytes())
    return content.hexdigest()[:16]


def _called(examples: Examples) -> bytes:
    """The labels and names of all images, in their order."""
    names = "".join(f"{name}\n" for name in examples.names)
    return examples.labels.numpy().astype(np.int64).tobytes() + names.encode()


def spread(count: int, most: int) -> list[int]:
    """At most `most` numbers below `count`, evenly spaced."""
    return sorted({count * i // most for i in range(most)}) if count else []


def content(examples: Examples, index: int) -> bytes:
    """One image as it lies on disk."""
    if not examples.spans:
        return examples.files[index].read_bytes()
    offset, size = examples.spans[index]
    with open(examples.files[index], "rb") as file:
        file.seek(offset)
        return file.read(size)


def opened(examples: Examples, index: int) -> Tensor:
    """One image's file, decoded: uint8, (3, H, W). Raises `UserError` where that cannot be done."""
    return look(examples, index, images.rgb)


def size(examples: Examples, index: int) -> tuple[int, int]:
    """Height and width of one image's file, read without decoding. Raises `UserError`."""
    return look(examples, index, images.size)


def require_images(examples: Examples) -> None:
    """Raise `UserError` for the first file that is no image, or one that cannot become RGB.

    Only its beginning is looked at. Of more than `OPENED` files, so many are: to open a million
    takes an hour.
    """
    for index in spread(len(examples.files), OPENED):
        look(examples, index, images.require)


def look(examples: Examples, index: int, find: Callable[[File], T]) -> T:
    """What `find` finds in one image's file; its error becomes one that says where that stands."""
    try:
        return find(content(examples, index) if examples.spans else examples.files[index])
    except images.Unusable as error:
        raise fault(examples, index, str(error)) from None
    except OSError as error:
        raise fault(examples, index, f"cannot be read: {error.strerror}") from None


def fault(examples: Examples, index: int, what: str) -> UserError:
    """The error that says what is wrong with an image, and where it is listed."""
    return UserError(f"{examples.origins[index]}: {examples.files[index]} {what}")


def require_counts(task: Task, split: Split, count: int, folder: Path) -> None:
    allowed = task.counts.get(split)
    if not count or (allowed and count not in allowed):
        wanted = " or ".join(map(str, allowed)) if allowed else "some"
        raise UserError(
            f"{folder}: {count} images in the {split} split of {task.name}; there must be {wanted}"
        )


def _require_files(files: tuple[Path, ...], origins: tuple[str, ...]) -> None:
    present: dict[Path, set[str]] = {}
    for file, origin in zip(files, origins, strict=True):
        if file.parent not in present:
            present[file.parent] = set(os.listdir(file.parent)) if file.parent.is_dir() else set()
        if file.name not in present[file.parent]:
            raise UserError(f"{origin}: no image {file}")


def _hashes(folder: Path, files: Sequence[Path], origins: Sequence[object]) -> list[str]:
    """The sha256 of each file below a folder, read once; `origins` say where each is named."""
    try:
        return hashes.of_files(folder, files)
    except OSError as error:
        found = {str(file): origin for file, origin in zip(files, origins, strict=True)}
        where = found.get(str(error.filename), folder)
        raise UserError(f"{where}: {error.filename} cannot be read: {error.strerror}") from None
