"""The clause that says how many finished cells are kept on the disk, also in errors."""

import errno
import os
from pathlib import Path

import pytest

from bench.execution.finished_cells import FinishedCells
from bench.records.store import Store


def test_what_is_kept_is_counted_as_files(tmp_path: Path) -> None:
    cells = FinishedCells({tmp_path / name for name in ("one", "two", "three")})
    assert cells.describe() == "of 3 finished cells none is kept"
    (tmp_path / "one").touch()
    (tmp_path / "two").mkdir()  # no record
    assert cells.describe() == "of 3 finished cells 1 is kept"
    (tmp_path / "two").rmdir()
    (tmp_path / "two").touch()
    assert cells.describe() == "of 3 finished cells 2 are kept"
    (tmp_path / "three").touch()
    assert cells.describe() == "every finished cell is kept"


def test_where_the_folder_is_gone_nothing_is_called_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    store.make()
    cells = FinishedCells(stores=[store])
    assert cells.describe() == "every finished cell is kept"
    os.rmdir(tmp_path / "results" / "records")
    assert cells.describe() == "no finished cell is kept"


def test_an_error_says_what_is_kept() -> None:
    with pytest.raises(OSError, match=r"No space left on device; every finished cell is kept$"):
        raise_within(OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(KeyboardInterrupt, match=r"^every finished cell is kept; 2 bundles go on$"):
        raise_within(KeyboardInterrupt("2 bundles go on"))
    with pytest.raises(BrokenPipeError):  # of whoever reads the output: nobody would see it
        raise_within(BrokenPipeError())


def raise_within(error: BaseException) -> None:
    with FinishedCells().stated():
        raise error
