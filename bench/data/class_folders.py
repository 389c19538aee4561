"""Images in class folders: one folder for each class, with image files at any depth."""

import os
from pathlib import Path

from bench.utils.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
MAX_FILES = 5_000_000


def list_images(folder: Path) -> list[tuple[Path, int]]:
    """Return the image files below a folder and their classes, in torchvision's order.

    Classes are numbered by the names of their folders. Raises `UserError` for a folder without
    classes, and for a class without images.
    """
    classes = sorted(path for path in _read_folder(folder) if path.is_dir())
    if not classes:
        raise UserError(f"{folder} holds no folder for each class")
    found = []
    for number, of_class in enumerate(classes):
        files = _images_below(of_class)
        if not files:
            raise UserError(f"{of_class} holds no image file ({', '.join(SUFFIXES)})")
        found += [(file, number) for file in files]
        if len(found) > MAX_FILES:
            raise UserError(f"{folder} holds more than {MAX_FILES:,} images")
    return found


def _images_below(folder: Path) -> list[Path]:
    """List the images below a folder; folders that are links are entered, but none twice."""
    entered, found = set(), []
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        if (identity := os.path.realpath(place)) in entered:
            continue
        entered.add(identity)
        inside = _read_folder(place)
        found += [path for path in inside if path.name.lower().endswith(SUFFIXES)]
        waiting += [path for path in inside if path.is_dir()]
    return sorted(found, key=lambda path: (str(path.parent), path.name))


def _read_folder(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}") from None
