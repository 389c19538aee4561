"""Readers of medical data sets: PatchCamelyon and Diabetic Retinopathy Detection."""

import csv
import io
import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import h5py
import numpy as np

from bench.prepare.archive_contents import MAX_MEMBER_BYTES, max_unpacked_size, parse_errors
from bench.prepare.archives import find_file, open_archive, open_gzip, read_images
from bench.prepare.readers.base import (
    Files,
    ImageData,
    RecordKey,
    SourceRecord,
    decode_bgr,
    encode_jpeg,
    import_opencv,
    open_hdf5_array,
    read_hdf5_array,
    read_hdf5_rows,
    require_equal_counts,
    wanted_indices,
)
from bench.utils import text
from bench.utils.errors import UserError
from bench.utils.files import read_regular_file
from bench.utils.parallel import threaded_map

CAMELYON_SPLITS = {"train": "train", "validation": "valid", "test": "test"}
CAMELYON_SHAPE = (96, 96, 3)
UNPACK_BYTES = 2**20  # decompressed at a time


@dataclass(frozen=True)
class PatchCamelyon:
    """PatchCamelyon (Veeling et al., 2018), https://github.com/basveeling/pcam: gzipped HDF5 files.

    Each file is decompressed to a temporary file next to it, one at a time. Keys are numbers in the
    order of the file: valid_0 is the first image for validation.
    """

    files: Files

    def entries(self) -> Iterator[SourceRecord]:
        for split, part in CAMELYON_SPLITS.items():
            with self._array(part, "y") as labels:
                tumors = read_hdf5_array(labels, self._file(part, "y")).reshape(-1).tolist()
            for index, tumor in enumerate(tumors):
                yield SourceRecord(split, f"{part}_{index}", {"tumor": tumor})

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        for split in sorted({split for split, _ in wanted}):
            part = CAMELYON_SPLITS[split]
            origin = self._file(part, "x")
            with self._array(part, "y") as labels:
                count = len(labels)
            with self._array(part, "x") as data:
                require_equal_counts(origin, count, len(data))
                if data.shape[1:] != CAMELYON_SHAPE or data.dtype != "uint8":
                    raise UserError(f"{origin}: images of {data.dtype} {data.shape[1:]}")
                indices = wanted_indices(wanted, split, count, origin, f"{part}_")
                for index, image in read_hdf5_rows(data, indices, origin):
                    yield (split, f"{part}_{index}"), image

    def _file(self, part: str, kind: str) -> Path:
        name = f"camelyonpatch_level_2_split_{part}_{kind}.h5"
        return find_file(self.files, name, f"{name}.gz")

    @contextmanager
    def _array(self, part: str, kind: str) -> Iterator[h5py.Dataset]:
        path = self._file(part, kind)
        with _unpacked_file(path) as plain, open_hdf5_array(plain, kind, path) as data:
            yield data


@contextmanager
def _unpacked_file(path: Path) -> Iterator[Path]:
    if path.suffix != ".gz":
        yield path
        return
    with ExitStack() as stack:
        try:
            scratch = stack.enter_context(
                tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{path.stem}.")
            )
            for block in _gunzip_blocks(path):
                scratch.write(block)
            scratch.flush()
        except OSError as error:
            raise UserError(f"{path} cannot be unpacked beside itself: {error.strerror}") from None
        yield Path(scratch.name)


def _gunzip_blocks(path: Path) -> Iterator[bytes]:
    limit, size = max_unpacked_size(os.stat(path).st_size), 0
    with open_gzip(path) as packed:
        while block := packed.read(UNPACK_BYTES):
            size += len(block)
            if size > limit:
                raise UserError(f"{path} would expand to more than {limit:,} bytes")
            yield block


RETINOPATHY_TRAIN, RETINOPATHY_TEST = "trainLabels.csv", "retinopathy_solution.csv"
RETINOPATHY_USAGES = {"validation": "Public", "test": "Private"}  # leaderboards of the test images
RETINOPATHY_IMAGES = {"train": "train", "validation": "test", "test": "test"}  # folder or zip file
EYE_RADIUS = 300  # pixels
KEPT_RADIUS = 0.9  # fraction of the radius that is kept
FILL_GREY = 128  # beyond it, and in place of the local average
RETINOPATHY_QUALITY = 72


@dataclass(frozen=True)
class Retinopathy:
    """Diabetic Retinopathy Detection (Kaggle, 2015), with its winner's preprocessing.

    Benjamin Graham scaled every eye to one radius, subtracted the local average and cropped the
    border: https://www.kaggle.com/c/diabetic-retinopathy-detection/discussion/15801. TensorFlow
    Datasets calls the result, as JPEG of quality 72, btgraham-300. OpenCV's version may change the
    bytes. Keys are ``10_left`` and so on; classes are levels 0 to 4.
    """

    files: Files

    def entries(self) -> Iterator[SourceRecord]:
        for row in self._rows(RETINOPATHY_TRAIN):
            yield SourceRecord("train", str(row["image"]), {"class": row["level"]})
        rows = self._rows(RETINOPATHY_TEST)
        for split, usage in RETINOPATHY_USAGES.items():
            for row in rows:
                if row["usage"] == usage:
                    yield SourceRecord(split, str(row["image"]), {"class": row["level"]})

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        import_opencv()  # fail early, not after hours
        for folder in dict.fromkeys(RETINOPATHY_IMAGES.values()):
            keys = {
                key: (split, key) for split, key in wanted if RETINOPATHY_IMAGES[split] == folder
            }
            if keys:
                yield from self._images(find_file(self.files, folder, f"{folder}.zip"), keys)

    def _rows(self, file: str) -> list[dict[str, str | int]]:
        path = find_file(self.files, file)
        with parse_errors(path):
            content = read_regular_file(path, MAX_MEMBER_BYTES, follow_links=True)
            return [
                {"image": row["image"], "level": int(row["level"]), "usage": row.get("Usage", "")}
                for row in csv.DictReader(io.StringIO(text.decode_utf8(content)))
            ]

    def _images(
        self, path: Path, keys: dict[str, RecordKey]
    ) -> Iterator[tuple[RecordKey, ImageData]]:
        def preprocess(item: tuple[RecordKey, bytes]) -> tuple[RecordKey, ImageData]:
            key, content = item
            image = graham_preprocess(decode_bgr(path, key[1], content))
            return key, encode_jpeg(image, RETINOPATHY_QUALITY)

        yield from threaded_map(preprocess, read_images(path, _image_members(path, keys)))


def _image_members(path: Path, keys: dict[str, RecordKey]) -> dict[str, RecordKey]:
    """Map the archive's members, in whatever folders, to keys."""
    members = {PurePosixPath(member).stem: member for member in open_archive(path).names()}
    return {members.get(name, f"{name}.jpeg"): key for name, key in keys.items()}


def graham_preprocess(image: np.ndarray) -> np.ndarray:
    """Scale an eye to `EYE_RADIUS`, subtract the local average, and crop the border, on grey."""
    cv2 = import_opencv()
    scale = EYE_RADIUS / _eye_radius(image)
    image = cv2.resize(image, dsize=None, fx=scale, fy=scale)
    average = cv2.GaussianBlur(image, (0, 0), EYE_RADIUS / 30)
    image = cv2.addWeighted(image, 4, average, -4, FILL_GREY)
    y, x = image.shape[0] // 2, image.shape[1] // 2
    kept = int(EYE_RADIUS * KEPT_RADIUS)
    disc = cv2.circle(np.zeros(image.shape[:2], np.uint8), (x, y), kept, 1, thickness=-1)
    image = np.where(disc[..., None] == 1, image, np.uint8(FILL_GREY))
    return image[max(y - kept, 0) : y + kept, max(x - kept, 0) : x + kept]


def _eye_radius(image: np.ndarray) -> float:
    """Return half the bright pixels of the middle row, or half the height if all are dark."""
    row = image[image.shape[0] // 2].sum(axis=1)
    bright = (row > row.mean() / 10).sum() / 2
    return float(bright) if bright >= 1 else image.shape[0] / 2
