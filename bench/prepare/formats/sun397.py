"""SUN397, Xiao et al., 2010, as TensorFlow Datasets splits and shrinks it.

Its lists of images come with that package; its images were read, shrunk and compressed anew by
OpenCV, whose version may change their bytes.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np

from bench import images
from bench.errors import UserError
from bench.prepare.ahead import ahead
from bench.prepare.containers.members import file_of, text, wherever
from bench.prepare.formats.base import Entry, Files, Name, Picture
from bench.prepare.opencv import as_jpeg, decoded, opencv


@dataclass(frozen=True)
class Sun397:
    """``/c/church/outdoor/sun_xxx.jpg``, in the class ``/c/church/outdoor``."""

    files: Files
    archive: str  # the name of the images' file
    package: str  # the name of the lists' file
    lists: dict[str, str]  # each split's, in the package
    pixels: int  # of an image, at most

    def entries(self) -> Iterator[Entry]:
        path = file_of(self.files, self.package)
        for split, member in self.lists.items():
            for key in text(path, member).split():
                yield Entry(split, key, {"class": key.rpartition("/")[0]})

    def images(self, wanted: Collection[Name]) -> Iterator[tuple[Name, Picture]]:
        opencv()  # rather a sentence now than after hours
        path = file_of(self.files, self.archive)
        found = wherever(path, {key.lstrip("/"): (split, key) for split, key in wanted})

        def shrunk(item: tuple[Name, bytes]) -> tuple[Name, Picture]:
            name, content = item
            return name, as_jpeg(_shrunk(_pixels(path, name[1], content), self.pixels))

        yield from ahead(shrunk, found)


def _pixels(path: Path, member: str, content: bytes) -> np.ndarray:
    """Some of its files called .jpg are GIF files, which not every OpenCV reads."""
    try:
        return decoded(path, member, content)
    except UserError as error:
        try:
            image = images.rgb(content)
        except images.UNREADABLE:
            raise error from None
        return np.asarray(image)[..., ::-1]


def _shrunk(image: np.ndarray, pixels: int) -> np.ndarray:
    area = image.shape[0] * image.shape[1]
    if area <= pixels:
        return image
    scale = sqrt(pixels / area)
    return opencv().resize(image, dsize=None, fx=scale, fy=scale)
