"""Readers of scenes whose objects' distances are annotated: CLEVR and KITTI."""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bench.prepare.archive_contents import parse_errors
from bench.prepare.archives import find_file, folder_prefix, open_archive, read_images, read_text
from bench.prepare.readers.base import Files, ImageData, RecordKey, SourceRecord

CLEVR_ARCHIVE, CLEVR_FOLDER = "CLEVR_v1.0.zip", "CLEVR_v1.0"
CLEVR_SPLITS = {"train": "train", "validation": "val"}  # test scenes are unpublished


class ClevrScene(NamedTuple):
    """The fields used of a scene's description."""

    image: str
    depths: list[float]  # of its objects


@dataclass(frozen=True)
class Clevr:
    """CLEVR (Johnson et al., 2017): rendered scenes, described in one JSON file for each split.

    Keys are ``CLEVR_train_000000.png`` and so on; annotations are the number of objects and the
    distance of the nearest.
    """

    files: Files

    def entries(self) -> Iterator[SourceRecord]:
        for split in CLEVR_SPLITS:
            for scene in self._scenes(split):
                facts = {"objects": len(scene.depths), "nearest": min(scene.depths)}
                yield SourceRecord(split, scene.image, facts)

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        path = find_file(self.files, CLEVR_ARCHIVE)
        top = folder_prefix(open_archive(path), CLEVR_FOLDER)
        yield from read_images(
            path, {f"{top}images/{CLEVR_SPLITS[n[0]]}/{n[1]}": n for n in wanted}
        )

    def _scenes(self, split: str) -> list[ClevrScene]:
        path, member = (
            find_file(self.files, CLEVR_ARCHIVE),
            f"scenes/CLEVR_{CLEVR_SPLITS[split]}_scenes.json",
        )
        content = read_text(path, member, CLEVR_FOLDER)
        with parse_errors(path, member):
            return [
                ClevrScene(*scene)
                for scene in json.loads(content, object_hook=_keep_depths)["scenes"]
            ]


def _keep_depths(parsed: dict[str, Any]) -> Any:
    """Reduce objects to depths and scenes to `ClevrScene`, to drop a gigabyte while parsing.

    Depths are rounded to float32, as VTAB compares them.
    """
    if "pixel_coords" in parsed:
        return float(np.float32(parsed["pixel_coords"][2]))
    if "image_filename" in parsed:
        return ClevrScene(parsed["image_filename"], parsed["objects"])
    return parsed


KITTI_IMAGES, KITTI_LABELS, KITTI_DEVKIT = (
    "data_object_image_2.zip",
    "data_object_label_2.zip",
    "devkit_object.zip",
)
VEHICLES = {"Car", "Van", "Truck"}
NO_VEHICLE = 1000.0  # metres: beyond any vehicle
DEPTH_FIELD = 13  # in an object's line
KITTI_SEED = 123
KITTI_SPLIT_PERCENT = 10  # of the videos, for each of test and validation


@dataclass(frozen=True)
class Kitti:
    """KITTI's object detection benchmark (Geiger et al., 2012): video frames, split by video.

    The annotations of its test images are unpublished; TensorFlow Datasets draws a tenth of the
    training videos for a test split and another for validation. Keys are ``000016.png`` and so on;
    the annotation is the distance of the nearest vehicle.
    """

    files: Files

    def entries(self) -> Iterator[SourceRecord]:
        split_of = split_by_video(self._videos())
        path = find_file(self.files, KITTI_LABELS)
        members = {f"training/label_2/{i:06d}.txt": i for i in range(len(split_of))}
        for member, content in open_archive(path).read(members):
            with parse_errors(path, member):
                facts = {"nearest": nearest_vehicle(content.decode())}
            yield SourceRecord(split_of[members[member]], f"{members[member]:06d}.png", facts)

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        members = {f"training/image_2/{name[1]}": name for name in wanted}
        yield from read_images(find_file(self.files, KITTI_IMAGES), members)

    def _videos(self) -> list[str]:
        """Return the video of each image, from its line number, counted from 1, in the mapping."""
        path = find_file(self.files, KITTI_DEVKIT)
        lines = read_text(path, "mapping/train_mapping.txt").splitlines()
        numbers = read_text(path, "mapping/train_rand.txt")
        with parse_errors(path, "mapping/train_rand.txt"):
            return [lines[int(number) - 1].split(" ")[1] for number in numbers.split(",")]


def split_by_video(videos: list[str]) -> list[str]:
    """Return the split of each image, given its video."""
    left = sorted(set(videos))
    count = max(1, KITTI_SPLIT_PERCENT * len(left) // 100)
    random = np.random.RandomState(KITTI_SEED)
    split_of: dict[str, str] = {}
    for split in ("test", "validation"):
        drawn = {str(video) for video in random.choice(left, count, replace=False)}
        split_of |= dict.fromkeys(drawn, split)
        left = [video for video in left if video not in drawn]
    return [split_of.get(video, "train") for video in videos]


def nearest_vehicle(annotation: str) -> float:
    """Return the distance from the camera to the nearest vehicle, in metres."""
    objects = [line.split() for line in annotation.splitlines() if line]
    return min([float(o[DEPTH_FIELD]) for o in objects if o[0] in VEHICLES], default=NO_VEHICLE)
