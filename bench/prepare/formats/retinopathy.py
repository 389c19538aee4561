"""Diabetic Retinopathy Detection, Kaggle, 2015, as its winner saw the images.

Benjamin Graham scaled every eye to one radius, took the local average away and cut the border off:
https://www.kaggle.com/c/diabetic-retinopathy-detection/discussion/15801. TensorFlow Datasets calls
the result, as JPEG files of quality 72, btgraham-300. OpenCV's version may change their bytes.
"""

import csv
import io
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from bench import encodings
from bench.prepare.ahead import ahead
from bench.prepare.containers.archives import opened
from bench.prepare.containers.members import file_of, pictures, understood
from bench.prepare.formats.base import Entry, Files, Name, Picture
from bench.prepare.opencv import as_jpeg, decoded, opencv

TRAIN, TEST = "trainLabels.csv", "retinopathy_solution.csv"
USAGES = {"validation": "Public", "test": "Private"}  # of the test images: the leaderboard's
IMAGES = {"train": "train", "validation": "test", "test": "test"}  # a folder, or a zip file
RADIUS = 300  # pixels, of an eye
KEPT = 0.9  # of the radius
GREY = 128  # beyond, and in place of the local average
QUALITY = 72


@dataclass(frozen=True)
class Retinopathy:
    """``10_left`` and so on, of the classes (levels) 0 to 4."""

    files: Files

    def entries(self) -> Iterator[Entry]:
        for row in self._rows(TRAIN):
            yield Entry("train", str(row["image"]), {"class": row["level"]})
        rows = self._rows(TEST)
        for split, usage in USAGES.items():
            for row in rows:
                if row["usage"] == usage:
                    yield Entry(split, str(row["image"]), {"class": row["level"]})

    def images(self, wanted: Collection[Name]) -> Iterator[tuple[Name, Picture]]:
        opencv()  # rather a sentence now than after hours
        for folder in dict.fromkeys(IMAGES.values()):
            some = {key: (split, key) for split, key in wanted if IMAGES[split] == folder}
            if some:
                yield from self._pictures(file_of(self.files, folder, f"{folder}.zip"), some)

    def _rows(self, file: str) -> list[dict[str, str | int]]:
        path = file_of(self.files, file)
        with understood(path):
            return [
                {"image": row["image"], "level": int(row["level"]), "usage": row.get("Usage", "")}
                for row in csv.DictReader(io.StringIO(encodings.text(path.read_bytes())))
            ]

    def _pictures(self, path: Path, some: dict[str, Name]) -> Iterator[tuple[Name, Picture]]:
        def seen(item: tuple[Name, bytes]) -> tuple[Name, Picture]:
            name, content = item
            return name, as_jpeg(as_the_winner_saw(decoded(path, name[1], content)), QUALITY)

        yield from ahead(seen, pictures(path, _members(path, some)))


def _members(path: Path, some: dict[str, Name]) -> dict[str, Name]:
    """Where the archive has those images; whatever folders it puts them in."""
    found = {PurePosixPath(member).stem: member for member in opened(path).names()}
    return {found.get(key, f"{key}.jpeg"): name for key, name in some.items()}


def as_the_winner_saw(image: np.ndarray) -> np.ndarray:
    """An eye of one size, without its local average and its border, on grey."""
    cv2 = opencv()
    scale = RADIUS / _radius(image)
    image = cv2.resize(image, dsize=None, fx=scale, fy=scale)
    average = cv2.GaussianBlur(image, (0, 0), RADIUS / 30)
    image = cv2.addWeighted(image, 4, average, -4, GREY)
    y, x = image.shape[0] // 2, image.shape[1] // 2
    kept = int(RADIUS * KEPT)
    disc = cv2.circle(np.zeros(image.shape[:2], np.uint8), (x, y), kept, 1, thickness=-1)
    image = np.where(disc[..., None] == 1, image, np.uint8(GREY))
    return image[max(y - kept, 0) : y + kept, max(x - kept, 0) : x + kept]


def _radius(image: np.ndarray) -> float:
    """Half of what is not dark in the middle row; half the height where that row is all dark."""
    row = image[image.shape[0] // 2].sum(axis=1)
    bright = (row > row.mean() / 10).sum() / 2
    return float(bright) if bright >= 1 else image.shape[0] / 2
