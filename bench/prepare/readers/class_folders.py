"""Readers of images in class folders: EuroSAT, RESISC45 and the like, iNaturalist 2018, SUN397."""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import sqrt
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bench.data.images import DECODE_ERRORS, decode_rgb
from bench.prepare.archive_contents import (
    parse_errors,
)
from bench.prepare.archives import (
    find_file,
    folder_prefix,
    open_archive,
    read_images,
    read_images_by_path_end,
    read_member,
    read_text,
)
from bench.prepare.readers.base import (
    Files,
    ImageData,
    RecordKey,
    SourceRecord,
    decode_bgr,
    encode_jpeg,
    import_opencv,
    require_equal_counts,
)
from bench.utils.errors import UserError
from bench.utils.parallel import threaded_map

ONLY_SPLIT = "train"  # the name of the only split in TensorFlow Datasets


@dataclass(frozen=True)
class ClassFolders:
    """Images without splits; the name of an image's innermost folder is its class."""

    files: Files
    archive: str  # the name of its file
    suffix: str  # of images' names; of several, with spaces between
    key: str  # a template with {folder} and {file}

    def entries(self) -> Iterator[SourceRecord]:
        for member in self._members():
            yield SourceRecord(
                ONLY_SPLIT, self._key(member), {"class": PurePosixPath(member).parent.name}
            )

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        members = {(ONLY_SPLIT, self._key(member)): member for member in self._members()}
        keys = {members.get(key, key[1]): key for key in wanted}
        yield from read_images(find_file(self.files, self.archive), keys)

    def _members(self) -> list[str]:
        path = find_file(self.files, self.archive)
        names = [name for name in open_archive(path).names() if self._is_image(PurePosixPath(name))]
        if not names:
            raise UserError(f"{path} holds no {self.suffix} files in folders of classes")
        return names

    def _is_image(self, path: PurePosixPath) -> bool:
        hidden = path.name.startswith(".")  # added to zip files by macOS
        return path.suffix in self.suffix.split() and path.parent.name != "" and not hidden

    def _key(self, member: str) -> str:
        path = PurePosixPath(member)
        return self.key.format(folder=path.parent.name, file=path.name)


INATURALIST_ARCHIVE, INATURALIST_FOLDER = "train_val2018.tar.gz", "train_val2018"
INATURALIST_LISTS = {"train": "train2018.json", "validation": "val2018.json"}


@dataclass(frozen=True)
class Inaturalist:
    """iNaturalist 2018, https://github.com/visipedia/inat_comp: an archive, and JSON per split.

    Keys are the JSON files' names of images: train_val2018/Aves/2761/0f1e.jpg. The JSON of the
    training split is held in memory.
    """

    files: Files

    def entries(self) -> Iterator[SourceRecord]:
        for split, name in INATURALIST_LISTS.items():
            origin = f"{find_file(self.files, f'{name}.tar.gz')}: {name}"
            content = self._json(name, origin)
            with parse_errors(origin):
                labels = content["annotations"]
                classes = {label["image_id"]: int(label["category_id"]) for label in labels}
                images = [(image["id"], str(image["file_name"])) for image in content["images"]]
            require_equal_counts(
                origin, sum(number in classes for number, _ in images), len(images)
            )
            for number, key in images:
                yield SourceRecord(split, key, {"class": classes[number]})

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        path = find_file(self.files, INATURALIST_ARCHIVE)
        top = folder_prefix(open_archive(path), INATURALIST_FOLDER)
        keys = {top + key[1].removeprefix(f"{INATURALIST_FOLDER}/"): key for key in wanted}
        yield from read_images(path, keys)

    def _json(self, name: str, origin: str) -> Any:
        content = read_member(find_file(self.files, f"{name}.tar.gz"), name)
        with parse_errors(origin):
            return json.loads(content)


@dataclass(frozen=True)
class Sun397:
    """SUN397 (Xiao et al., 2010) as TensorFlow Datasets splits and shrinks it.

    Its lists of images come with that package. Its images are decoded, shrunk and encoded by
    OpenCV, whose version may change their bytes. A key is ``/c/church/outdoor/sun_xxx.jpg``, of
    the class ``/c/church/outdoor``.
    """

    files: Files
    archive: str  # the name of the file with the images
    package: str  # the name of the file with the lists
    lists: dict[str, str]  # members of the package, by split
    pixels: int  # the maximum of an image

    def entries(self) -> Iterator[SourceRecord]:
        path = find_file(self.files, self.package)
        for split, member in self.lists.items():
            for key in read_text(path, member).split():
                yield SourceRecord(split, key, {"class": key.rpartition("/")[0]})

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        import_opencv()  # fail early, not after hours
        path = find_file(self.files, self.archive)
        originals = read_images_by_path_end(
            path, {key.lstrip("/"): (split, key) for split, key in wanted}
        )

        def shrink(item: tuple[RecordKey, bytes]) -> tuple[RecordKey, ImageData]:
            key, content = item
            image = _decode_bgr_or_gif(path, key[1], content)
            return key, encode_jpeg(_shrink(image, self.pixels))

        yield from threaded_map(shrink, originals)


def _decode_bgr_or_gif(path: Path, member: str, content: bytes) -> np.ndarray:
    """Decode an image; some files named .jpg are GIF files, which not every OpenCV decodes."""
    try:
        return decode_bgr(path, member, content)
    except UserError as error:
        try:
            image = decode_rgb(content)
        except DECODE_ERRORS:
            raise error from None
        return np.asarray(image)[..., ::-1]


def _shrink(image: np.ndarray, pixels: int) -> np.ndarray:
    area = image.shape[0] * image.shape[1]
    if area <= pixels:
        return image
    scale = sqrt(pixels / area)
    return import_opencv().resize(image, dsize=None, fx=scale, fy=scale)
