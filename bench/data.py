"""A task's splits: which images with which labels, read from its lists and checked."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2 as transforms

from bench import embedded
from bench.cards import Suite
from bench.errors import UserError, unknown
from bench.tasks import Split, Task

SEEN = 16  # images of a split whose pixels stand in its digest
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # as Pillow says it


Line = tuple[str, str, str]  # an image's path, its label as written, and where that stands


@dataclass(frozen=True)
class Examples:
    """The images of a split, as pixels or as files, and their labels."""

    labels: Tensor  # (B,)
    pixels: Tensor | None = None  # uint8, (B, 3, H, W)
    files: tuple[Path, ...] = ()
    origins: tuple[str, ...] = ()  # list file and line of each image, for messages

    def __len__(self) -> int:
        return len(self.labels)


def read(suite: Suite, task: Task, split: Split, root: Path) -> Examples:
    """The examples of a split, checked but not decoded.

    Raises `UserError` where the data are absent or a list file names what is not there.
    """
    if task.embedded:
        if task.embedded not in embedded.TASKS:
            raise unknown("embedded task", task.embedded, embedded.TASKS)
        made = embedded.TASKS[task.embedded]()[split]
        pixels = torch.from_numpy(made.images).permute(0, 3, 1, 2).contiguous()
        return Examples(torch.from_numpy(made.labels), pixels)
    folder = find_folder(suite, task, root)
    lines = [line for name in suite.lists[split] for line in _lines(folder / name)]
    files = tuple(folder / task.images / path for path, _, _ in lines)
    numbers = _class_numbers(suite, task, folder, lines)
    origins = tuple(origin for _, _, origin in lines)
    _require_counts(task, split, len(numbers), folder)
    _require_files(files, origins)
    return Examples(torch.tensor(numbers), files=files, origins=origins)


def digest(examples: Examples) -> str:
    """16 hex digits that stand for which images with which labels, and in which order.

    Of files that is their names, and the decoded pixels of `SEEN` of them, so that a copy that was
    compressed anew is not taken for the original.
    """
    content = hashlib.sha256(examples.labels.numpy().astype(np.int64).tobytes())
    if examples.pixels is not None:
        content.update(examples.pixels.numpy().tobytes())
    for file in examples.files:
        content.update(f"{file.parent.name}/{file.name}\n".encode())
    for index in _spread(len(examples.files)):
        content.update(opened(examples, index).numpy().tobytes())
    return content.hexdigest()[:16]


def _spread(count: int) -> list[int]:
    """At most `SEEN` numbers below `count`, evenly spaced."""
    return sorted({count * i // SEEN for i in range(SEEN)}) if count else []


def opened(examples: Examples, index: int) -> Tensor:
    """One image's file, decoded: uint8, (3, H, W). Raises `UserError` where that cannot be done."""
    file = examples.files[index]
    try:
        with Image.open(file) as image:
            return transforms.functional.pil_to_tensor(image.convert("RGB"))
    except UNREADABLE as error:
        raise UserError(f"{examples.origins[index]}: {file} cannot be decoded: {error}") from None


def places(suite: Suite, task: Task, root: Path) -> list[Path]:
    """Where a task's folder is looked for."""
    name = task.folder or task.name
    return list(dict.fromkeys([root / suite.folder / name, root / name]))


def is_present(suite: Suite, task: Task, root: Path) -> bool:
    """Whether a task is embedded or its test list lies in one of its places."""
    return bool(task.embedded) or bool(_holding(suite, task, root))


def _holding(suite: Suite, task: Task, root: Path) -> list[Path]:
    test = suite.lists["test"][0]
    return [place for place in places(suite, task, root) if (place / test).is_file()]


def find_folder(suite: Suite, task: Task, root: Path) -> Path:
    """The folder of a task on disk: the first place that holds its test list."""
    for place in _holding(suite, task, root):
        return place
    looked = " and ".join(map(str, places(suite, task, root)))
    raise UserError(f"no data for {task.name}: looked for {suite.lists['test'][0]} in {looked}")


def _lines(path: Path) -> list[Line]:
    """The entries of a list file."""
    try:
        text = path.read_text()
        entries = json.loads(text) if path.suffix == ".json" else None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"the list file {path} cannot be read: {error}") from None
    if entries is None:
        return [_line(path, n, line) for n, line in enumerate(text.splitlines(), start=1)]
    if not isinstance(entries, dict):
        raise UserError(
            f"the list file {path} holds a {type(entries).__name__}, not classes by image"
        )
    return [(image, str(raw), f"{path}: {image}") for image, raw in entries.items()]


def _line(path: Path, number: int, line: str) -> Line:
    image, _, raw = line.strip().rpartition(" ")
    if not image:
        raise UserError(f"{path}:{number}: expected a path and a label, got {line!r}")
    return image, raw, f"{path}:{number}"


def _class_numbers(suite: Suite, task: Task, folder: Path, lines: list[Line]) -> list[int]:
    """The class of each entry; ids in JSON may have gaps, so all lists together number them."""
    names = sorted({name for names in suite.lists.values() for name in names})
    given = [_label(raw, origin) for _, raw, origin in lines]
    if not all(name.endswith(".json") for name in names):
        for label, (_, _, origin) in zip(given, lines, strict=True):
            if label >= task.classes:
                raise UserError(f"{origin}: label {label}; expected 0 to {task.classes - 1}")
        return given
    ids = {_label(raw, origin) for name in names for _, raw, origin in _lines(folder / name)}
    if len(ids) != task.classes:
        raise UserError(f"{folder}: {len(ids)} classes in its lists; there must be {task.classes}")
    numbers = {label: number for number, label in enumerate(sorted(ids))}
    return [numbers[label] for label in given]


def _label(raw: str, origin: str) -> int:
    if not raw.isdecimal():
        raise UserError(f"{origin}: label {raw!r}; expected a whole number")
    return int(raw)


def _require_counts(task: Task, split: Split, count: int, folder: Path) -> None:
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


def require_images(examples: Examples) -> None:
    """Raise `UserError` for the first file that does not begin as an image does."""
    for file, origin in zip(examples.files, examples.origins, strict=True):
        try:
            Image.open(file).close()
        except UNREADABLE as error:
            raise UserError(f"{origin}: {file} is not an image: {error}") from None
