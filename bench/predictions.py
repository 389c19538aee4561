"""The predicted classes of a cell, kept beside its record."""

import hashlib
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Predictions(NamedTuple):
    """The classes that a cell's model gave the test images, (N,), and the right ones, (N,)."""

    classes: NDArray[np.int16]
    labels: NDArray[np.int16] | None  # None: kept before labels were

    def right(self) -> NDArray[np.bool_] | None:
        """Which of them are right, (N,)."""
        return None if self.labels is None else self.classes == self.labels

    def sha256(self) -> str:
        """What stands for the predicted classes in a record."""
        return hashlib.sha256(self.classes.tobytes()).hexdigest()

    def content(self) -> bytes:
        """The file that `read` reads."""
        stream = io.BytesIO()
        labels = {} if self.labels is None else {"labels": self.labels}
        np.savez_compressed(stream, allow_pickle=False, classes=self.classes, **labels)
        return stream.getvalue()


def read(path: Path) -> Predictions | None:
    """The predictions in the file at `path`, or None where there are none to be read."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as kept:
            return Predictions(kept["classes"], kept.get("labels", None))
    except (OSError, ValueError, KeyError):
        return None
