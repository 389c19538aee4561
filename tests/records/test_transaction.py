"""Transactions: after an error or a crash at any step, a results folder is as it was."""

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from bench.records import transaction
from bench.utils.errors import UserError
from bench.utils.files import write_atomically

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


def stage(files: transaction.Transaction, name: str, content: bytes) -> None:
    write_atomically(files.folder / name, content)
    files.add(files.folder / name)


def write_all(results: Path) -> None:
    with transaction.open_transaction(results) as files:
        for name, content in NEW.items():
            stage(files, name, content)


class Crash(BaseException):
    """The end of the process, from which no handler can do anything."""


def fail_at(
    monkeypatch: pytest.MonkeyPatch, step: int, error: BaseException, forever: bool
) -> None:
    """Make the `step`-th change of a folder fail, and all that follow if `forever`."""
    counter = itertools.count(1)

    def failing(plain: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*args: Any, **named: Any) -> Any:
            at = next(counter)
            if at == step or (forever and at > step):
                raise error
            return plain(*args, **named)

        return changed

    monkeypatch.setattr(transaction, "FileLock", lambda *_, **__: nullcontext())
    for name in STEPS:
        monkeypatch.setattr(os, name, failing(getattr(os, name)))


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

    def interrupted() -> None:
        with transaction.open_transaction(results) as files:
            stage(files, "records/old.json", b"new")
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert tree(results) == before


def test_after_a_full_disk_at_any_step_the_folder_is_as_it_was(results: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    *failed, last = outcomes(results, full, False, transaction.undo_interrupted)
    assert len(failed) > len(NEW)
    assert last.items() >= whole(results).items()


def test_after_a_crash_at_any_step_the_next_command_undoes_what_was_begun(results: Path) -> None:
    *crashed, last = outcomes(results, Crash(), True, transaction.undo_interrupted)
    assert len(crashed) > len(NEW)
    assert last.items() >= whole(results).items()


KILLED = """
import os, signal, sys
from pathlib import Path
from bench.records import transaction
from bench.utils.files import write_atomically
results, step, plain = Path(sys.argv[1]), int(sys.argv[2]), os.replace
moved = []
def replace(old, new):
    plain(old, new)
    moved.append(new)
    if len(moved) == step:
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = replace
with transaction.open_transaction(results) as files:
    for name in "ab":
        write_atomically(files.folder / name, name.encode())
        files.add(files.folder / name)
"""


@pytest.mark.parametrize("step", [1, 3, 4, 5])
def test_a_killed_process_leaves_nothing_that_the_next_command_does_not_undo(
    results: Path, step: int
) -> None:
    before = tree(results)
    ended = subprocess.run([sys.executable, "-c", KILLED, str(results), str(step)], check=False)
    assert ended.returncode == -signal.SIGKILL
    transaction.undo_interrupted(results)
    assert tree(results) == before


def test_what_another_process_wrote_after_a_crash_is_kept(results: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "unlink", lambda *_, **__: crash())
        with pytest.raises(Crash):
            write_all(results)
    (results / "records/old.json").write_bytes(b"by a run")
    transaction.undo_interrupted(results)
    found = tree(results)
    assert found["records/old.json"] == b"by a run"
    assert "predictions" not in found


def crash() -> None:
    raise Crash


def test_a_file_that_was_written_meanwhile_stops_the_transaction(results: Path) -> None:
    def overtaken() -> None:
        with transaction.open_transaction(results) as files:
            stage(files, "predictions/a.npz", b"A")
            stage(files, "records/old.json", b"new")
            (results / "records/old.json").write_bytes(b"by a run")

    with pytest.raises(UserError, match="was written meanwhile"):
        overtaken()
    assert (results / "records/old.json").read_bytes() == b"by a run"
    assert not (results / "predictions").exists()


def test_a_second_transaction_in_the_same_folder_is_a_sentence_and_the_first_goes_on(
    results: Path,
) -> None:
    with transaction.open_transaction(results) as files:
        stage(files, "records/old.json", b"new")
        with (
            pytest.raises(UserError, match="another merge into"),
            transaction.open_transaction(results),
        ):
            pass
        transaction.undo_interrupted(results)
    assert (results / "records/old.json").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside"])
def test_a_journal_that_leads_out_of_the_folder_is_not_followed(results: Path, name: str) -> None:
    outside = results.parent / "outside"
    outside.write_bytes(b"")
    found = outside.lstat()
    stamp = [found.st_mtime_ns, found.st_size, found.st_ino]
    (results / ".merge").mkdir()
    journal = {"files": {name.replace("/out", f"{results.parent}/out", name[0] == "/"): stamp}}
    (results / ".merge/journal.json").write_text(
        json.dumps({**journal, "folders": []}), encoding="utf-8"
    )
    with pytest.raises(UserError, match="not the journal of a merge"):
        transaction.undo_interrupted(results)
    assert outside.exists()
