"""iNaturalist 2018, https://github.com/visipedia/inat_comp: one archive, a JSON file a split.

The training split's JSON is held in memory as a whole.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from bench.prepare.containers.archives import opened
from bench.prepare.containers.members import below, file_of, member, pictures, understood
from bench.prepare.formats.base import Entry, Files, Name, Picture
from bench.prepare.formats.records import require_equal

ARCHIVE, FOLDER = "train_val2018.tar.gz", "train_val2018"
NAMES = {"train": "train2018.json", "validation": "val2018.json"}


@dataclass(frozen=True)
class Inaturalist:
    """Records are called as the JSON files call them: train_val2018/Aves/2761/0f1e.jpg."""

    files: Files

    def entries(self) -> Iterator[Entry]:
        for split, name in NAMES.items():
            origin = f"{file_of(self.files, f'{name}.tar.gz')}: {name}"
            held = self._json(name, origin)
            with understood(origin):
                classes = {one["image_id"]: int(one["category_id"]) for one in held["annotations"]}
                images = [(one["id"], str(one["file_name"])) for one in held["images"]]
            require_equal(origin, sum(number in classes for number, _ in images), len(images))
            for number, key in images:
                yield Entry(split, key, {"class": classes[number]})

    def images(self, wanted: Collection[Name]) -> Iterator[tuple[Name, Picture]]:
        path = file_of(self.files, ARCHIVE)
        inside = below(opened(path), FOLDER)
        names = {inside + name[1].removeprefix(f"{FOLDER}/"): name for name in wanted}
        yield from pictures(path, names)

    def _json(self, name: str, origin: str) -> Any:
        content = member(file_of(self.files, f"{name}.tar.gz"), name)
        with understood(origin):
            return json.loads(content)
