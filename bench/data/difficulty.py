"""How hard an embedded task is before anything is learnt: chance, and nearest neighbours."""

import numpy as np

from bench.data import embedded
from bench.data.builtin_tasks import LabelledImages


def chance_and_neighbour(name: str) -> tuple[float, float]:
    """Return the accuracies on test in percent of the commonest class, and of 1-NN on pixels."""
    splits = embedded.TASKS[name]()
    trainval, test = splits["trainval"], splits["test"]
    commonest = np.bincount(test.labels).max() / len(test.labels)
    found = trainval.labels[_nearest(trainval, test)]
    return 100 * float(commonest), 100 * float((found == test.labels).mean())


def _nearest(trainval: LabelledImages, test: LabelledImages) -> np.ndarray:
    """Return of each test image which trainval image is nearest; the sums of squares are exact."""
    known = trainval.images.reshape(len(trainval.images), -1).astype(np.float64)
    asked = test.images.reshape(len(test.images), -1).astype(np.float64)
    distances = (known * known).sum(axis=1) - 2 * asked @ known.T  # (test, trainval)
    return distances.argmin(axis=1)
