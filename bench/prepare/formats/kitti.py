"""KITTI's object detection benchmark, Geiger et al., 2012: frames of videos, split by video.

Its test images have no published annotations; TensorFlow Datasets draws a tenth of the training
videos for a test split and another for a validation split.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from bench.prepare.containers.archives import opened
from bench.prepare.containers.members import file_of, pictures, text, understood
from bench.prepare.formats.base import Entry, Files, Name, Picture

IMAGES, LABELS, DEVKIT = "data_object_image_2.zip", "data_object_label_2.zip", "devkit_object.zip"
VEHICLES = {"Car", "Van", "Truck"}
NONE = 1000.0  # metres: farther than any
DEPTH = 13  # the field of an object's line that holds it
SEED = 123
SHARE = 10  # percent of the videos, for test and for validation


@dataclass(frozen=True)
class Kitti:
    """``000016.png`` and so on: how far the nearest vehicle is."""

    files: Files

    def entries(self) -> Iterator[Entry]:
        split_of = split_by_video(self._videos())
        path = file_of(self.files, LABELS)
        members = {f"training/label_2/{i:06d}.txt": i for i in range(len(split_of))}
        for member, content in opened(path).read(members):
            with understood(path, member):
                facts = {"nearest": nearest(content.decode())}
            yield Entry(split_of[members[member]], f"{members[member]:06d}.png", facts)

    def images(self, wanted: Collection[Name]) -> Iterator[tuple[Name, Picture]]:
        members = {f"training/image_2/{name[1]}": name for name in wanted}
        yield from pictures(file_of(self.files, IMAGES), members)

    def _videos(self) -> list[str]:
        """The video that each image comes from: its line, counted from 1, in the mapping."""
        path = file_of(self.files, DEVKIT)
        lines = text(path, "mapping/train_mapping.txt").splitlines()
        numbers = text(path, "mapping/train_rand.txt")
        with understood(path, "mapping/train_rand.txt"):
            return [lines[int(number) - 1].split(" ")[1] for number in numbers.split(",")]


def split_by_video(videos: list[str]) -> list[str]:
    """The split of each image, whose video is given."""
    left = sorted(set(videos))
    count = max(1, SHARE * len(left) // 100)
    random = np.random.RandomState(SEED)
    split_of: dict[str, str] = {}
    for split in ("test", "validation"):
        drawn = {str(video) for video in random.choice(left, count, replace=False)}
        split_of |= dict.fromkeys(drawn, split)
        left = [video for video in left if video not in drawn]
    return [split_of.get(video, "train") for video in videos]


def nearest(annotation: str) -> float:
    """How far before the camera the nearest vehicle is, in metres."""
    objects = [line.split() for line in annotation.splitlines() if line]
    return min([float(o[DEPTH]) for o in objects if o[0] in VEHICLES], default=NONE)
