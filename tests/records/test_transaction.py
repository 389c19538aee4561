"""Transactions: after an error or a crash at any step, a results folder is as it was."""

import errno
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.records import transaction
from bench.utils.errors import UserError

NEW = {"predictions/a.npz": b"A", "records/x/y/a.json": b"a", "records/old.json": b"new"}
# whatever changes a folder: of `os`, and of modules that have their own names for it
STEPS = ("replace", "rename", "unlink", "mkdir", "rmdir", "open", "chmod")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    (folder / "records").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "records" / "old.json").write_bytes(b"old")
    return folder


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder with its content; None: a folder."""
    paths = folder.rglob("*")
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in paths
    }


def write_all(results: Path) -> None:
    with transaction.open_transaction(results) as files:
        for name, content in NEW.items():
            files.write(results / name, content)


class Crash(BaseException):
    """The end of the process, from which no handler can do anything."""


def fail_at(
    monkeypatch: pytest.MonkeyPatch, step: int, error: BaseException, forever: bool
) -> Iterator[int]:
    """Make the `step`-th change of a file fail, and all that follow if `forever`."""
    counter = itertools.count(1)

    def failing(plain: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*args: Any, **named: Any) -> Any:
            at = next(counter)
            if at == step or (forever and at > step):
                raise error
            return plain(*args, **named)

        return changed

    for name in STEPS:
        monkeypatch.setattr(os, name, failing(getattr(os, name)))
    return counter


def outcomes(
    results: Path, error: BaseException, forever: bool, after: Callable[[Path], object]
) -> list[dict[str, bytes | None]]:
    """The tree after a failure at each step, until there is no such step any more."""
    found, before = [], tree(results)
    for step in itertools.count(1):
        with pytest.MonkeyPatch.context() as patched:
            fail_at(patched, step, error, forever)
            try:
                write_all(results)
            except type(error):
                ended = False
            else:
                ended = True
        after(results)
        found.append(tree(results))
        if ended:
            return found
        assert tree(results) in (before, before | whole(results)), step
    raise AssertionError


def whole(results: Path) -> dict[str, bytes | None]:
    folders = dict.fromkeys(("predictions", "records/x", "records/x/y"))
    return {**folders, **NEW}


def test_all_files_are_written_and_nothing_else_is_left(results: Path) -> None:
    before = tree(results)
    write_all(results)
    assert tree(results) == before | whole(results)


def test_an_error_within_leaves_the_folder_as_it_was(results: Path) -> None:
    before = tree(results)
    with pytest.raises(KeyError), transaction.open_transaction(results) as files:
        files.write(results / "records/old.json", b"new")
        raise KeyError
    assert tree(results) == before


def test_after_a_full_disk_at_any_step_the_folder_is_as_it_was(results: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    *failed, last = outcomes(results, full, forever=False, after=lambda _: None)
    assert len(failed) > len(NEW)
    assert last.items() >= whole(results).items()


def test_after_a_crash_at_any_step_the_next_command_undoes_what_was_begun(results: Path) -> None:
    before = tree(results)
    *crashed, last = outcomes(results, Crash(), forever=True, after=transaction.undo_interrupted)
    assert before in crashed
    assert last.items() >= whole(results).items()
