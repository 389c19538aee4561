"""CLEVR, Johnson et al., 2017: rendered scenes, described in one JSON file a split."""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bench.prepare.containers.archives import opened
from bench.prepare.containers.members import below, file_of, pictures, text, understood
from bench.prepare.formats.base import Entry, Files, Name, Picture

ARCHIVE, TOP = "CLEVR_v1.0.zip", "CLEVR_v1.0"
SPLITS = {"train": "train", "validation": "val"}  # its test scenes are not published


class Scene(NamedTuple):
    """What is kept of a scene's description."""

    image: str
    depths: list[float]


@dataclass(frozen=True)
class Clevr:
    """``CLEVR_train_000000.png`` and so on: how many objects, and how far the nearest is."""

    files: Files

    def entries(self) -> Iterator[Entry]:
        for split in SPLITS:
            for scene in self._scenes(split):
                facts = {"objects": len(scene.depths), "nearest": min(scene.depths)}
                yield Entry(split, scene.image, facts)

    def images(self, wanted: Collection[Name]) -> Iterator[tuple[Name, Picture]]:
        path = file_of(self.files, ARCHIVE)
        top = below(opened(path), TOP)
        yield from pictures(path, {f"{top}images/{SPLITS[n[0]]}/{n[1]}": n for n in wanted})

    def _scenes(self, split: str) -> list[Scene]:
        path, member = file_of(self.files, ARCHIVE), f"scenes/CLEVR_{SPLITS[split]}_scenes.json"
        content = text(path, member, TOP)
        with understood(path, member):
            return [Scene(*scene) for scene in json.loads(content, object_hook=_kept)["scenes"]]


def _kept(found: dict[str, Any]) -> Any:
    """An object's depth, a scene's `Scene`: the rest, a gigabyte, is dropped as it is read.

    VTAB compares depths as float32.
    """
    if "pixel_coords" in found:
        return float(np.float32(found["pixel_coords"][2]))
    if "image_filename" in found:
        return Scene(found["image_filename"], found["objects"])
    return found
