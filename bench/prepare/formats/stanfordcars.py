"""Stanford Cars (Krause et al., 2013): the archive of all cars, and the annotations beside it.

The cars of cars_train.tgz and cars_test.tgz are the same under other numbers.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from bench.prepare.containers.matlab import variables
from bench.prepare.containers.members import file_of, understood, wherever
from bench.prepare.formats.base import Entry, Files, Name, Picture


@dataclass(frozen=True)
class StanfordCars:
    """Records are called car_ims/016185.jpg; the split is the authors'."""

    files: Files

    def entries(self) -> Iterator[Entry]:
        path = file_of(self.files, "cars_annos.mat")
        cars = np.atleast_1d(variables(path, path, "annotations")[0])
        with understood(path):
            columns = [cars[name].tolist() for name in ("relative_im_path", "class", "test")]
        for key, label, test in zip(*columns, strict=True):
            yield Entry("test" if test else "train", str(key), {"class": int(label)})

    def images(self, wanted: Collection[Name]) -> Iterator[tuple[Name, Picture]]:
        path = file_of(self.files, "car_ims.tgz")
        yield from wherever(path, {name[1].removeprefix("car_ims/"): name for name in wanted})
