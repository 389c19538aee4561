"""What every format is read as: first all records, then the images of some of them."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

Fact = int | float | str
Name = tuple[str, str]  # a split of the source, and a record's key in it
Picture = bytes | np.ndarray  # a file as published; or pixels, uint8, (H, W) or (H, W, 3)


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of a source, without its image."""

    split: str  # of the source: train, validation, test
    key: str  # what the selection rule calls it there
    facts: Mapping[str, Fact]  # its annotations, by the names that cards use


class Format(Protocol):
    """Reads one source.

    Both verbs go through a source once and in its own order, hold no more than a few images, and
    raise `UserError` for what is absent or broken, naming the archive and the member.
    """

    def entries(self) -> Iterator[Entry]:
        """Every record, without its image."""
        ...

    def images(self, wanted: Collection[Name]) -> Iterator[tuple[Name, Picture]]:
        """The images of those records, in whatever order is quickest to read."""
        ...


Files = Mapping[str, Path]  # those that are there, by their names in the source's card
Opener = Callable[..., Format]  # takes the files, and by name the options of the source's card
