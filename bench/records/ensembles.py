"""Where the scores of an ensemble are kept: a table for each set of cells."""

import hashlib
from collections.abc import Iterable

ENSEMBLES_DIR = "ensembles"  # of the results folder


def ensemble_name(cells: Iterable[str]) -> str:
    """Return a name of these cells, independent of their order: 16 hex digits."""
    return hashlib.sha256(" ".join(sorted(cells)).encode()).hexdigest()[:16]
