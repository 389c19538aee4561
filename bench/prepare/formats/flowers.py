"""Oxford Flowers 102, Nilsback and Zisserman, 2008: numbered images and two MATLAB files."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from bench.prepare.containers.archives import opened
from bench.prepare.containers.matlab import variables
from bench.prepare.containers.members import below, file_of, pictures, understood
from bench.prepare.formats.base import Entry, Files, Name, Picture

ARCHIVE, LABELS, SPLITS = "102flowers.tgz", "imagelabels.mat", "setid.mat"
VARIABLES = {"train": "trnid", "validation": "valid", "test": "tstid"}


@dataclass(frozen=True)
class Flowers:
    """``image_00001.jpg`` and so on; classes count from 1."""

    files: Files

    def entries(self) -> Iterator[Entry]:
        [labels] = self._variables(LABELS, ["labels"])
        numbers = self._variables(SPLITS, list(VARIABLES.values()))
        for split, chosen in zip(VARIABLES, numbers, strict=True):
            for number in chosen:
                with understood(file_of(self.files, LABELS)):
                    label = int(labels[number - 1])
                yield Entry(split, f"image_{number:05d}.jpg", {"class": label})

    def images(self, wanted: Collection[Name]) -> Iterator[tuple[Name, Picture]]:
        path = file_of(self.files, ARCHIVE)
        top = below(opened(path), "jpg")
        yield from pictures(path, {top + name[1]: name for name in wanted})

    def _variables(self, file: str, names: list[str]) -> list[np.ndarray]:
        path = file_of(self.files, file)
        return [np.atleast_1d(held).astype(int) for held in variables(path, path, *names)]
