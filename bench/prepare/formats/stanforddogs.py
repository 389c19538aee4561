"""Stanford Dogs (Khosla et al., 2011), http://vision.stanford.edu/aditya86/ImageNetDogs."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from bench.prepare.containers.archives import opened
from bench.prepare.containers.matlab import variables
from bench.prepare.containers.members import below, file_of, member, pictures
from bench.prepare.formats.base import Entry, Files, Name, Picture
from bench.prepare.formats.records import require_equal

LISTS = {"train": "train_list.mat", "test": "test_list.mat"}


@dataclass(frozen=True)
class StanfordDogs:
    """Records are called by their paths below Images/; the split is the authors'."""

    files: Files

    def entries(self) -> Iterator[Entry]:
        path = file_of(self.files, "lists.tar")
        for split, name in LISTS.items():
            origin = f"{path}: {name}"
            held = variables(member(path, name), origin, "file_list", "labels")
            keys, classes = (np.atleast_1d(column).tolist() for column in held)
            require_equal(origin, len(classes), len(keys))
            for key, label in zip(keys, classes, strict=True):
                yield Entry(split, str(key), {"class": int(label)})

    def images(self, wanted: Collection[Name]) -> Iterator[tuple[Name, Picture]]:
        path = file_of(self.files, "images.tar")
        top = below(opened(path), "Images")
        yield from pictures(path, {top + name[1]: name for name in wanted})
