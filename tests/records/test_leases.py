"""Leases: which process may run a cell, and until when."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.records import leases
from bench.records.leases import Leases
from bench.utils.errors import UserError
from support import paths

CELL = "0123456789abcdef"
ELSEWHERE = {"host": "elsewhere", "pid": 1}


def test_a_lease_keeps_others_out_until_it_is_released(tmp_path: Path) -> None:
    first, second = Leases(tmp_path), Leases(tmp_path)
    assert first.acquire(CELL, {"cell": "linear"})
    assert not second.acquire(CELL, {})
    first.release(CELL)
    assert second.acquire(CELL, {})


def test_all_leases_are_listed_with_the_information_of_their_holders(tmp_path: Path) -> None:
    mine = Leases(tmp_path)
    mine.acquire(CELL, {"cell": "linear"})
    mine.update(CELL, epoch=3)
    mine.renew()
    ((cell, info),) = Leases(tmp_path).active()
    assert (cell, info["cell"], info["epoch"], info["pid"]) == (CELL, "linear", 3, os.getpid())


def lease_path(folder: Path, cell: str = CELL) -> Path:
    path = folder / leases.LEASES_DIR / f"{cell}.json"
    path.parent.mkdir(exist_ok=True)
    return path


def write_lease(folder: Path, content: object) -> Path:
    path = lease_path(folder)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def made_older(path: Path, seconds: float) -> None:
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_a_lease_that_nobody_renews_expires(tmp_path: Path) -> None:
    path = write_lease(tmp_path, ELSEWHERE)
    assert not Leases(tmp_path).acquire(CELL, {})
    made_older(path, leases.EXPIRY_SECONDS + 1)
    assert not list(Leases(tmp_path).active())
    assert Leases(tmp_path).acquire(CELL, {})


def test_a_lease_that_is_renewed_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.0)
    mine = Leases(tmp_path)
    mine.acquire(CELL, {})
    os.utime(lease_path(tmp_path), (0, 0))
    mine.renew()
    assert not Leases(tmp_path).acquire(CELL, {})


def test_a_lease_of_a_process_of_this_machine_that_ended_expires(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                           capture_output=True, text=True, check=True)  # fmt: skip
    write_lease(tmp_path, {"host": platform.node(), "pid": int(ended.stdout)})
    mine = Leases(tmp_path)
    assert mine.acquire(CELL, {})
    assert not mine.take_problems()


BAD_CONTENTS: dict[str, object] = {
    "empty": "",
    "half": '{"host": "elsewhere", "pi',
    "a list": [],
    "a number": 5,
    "deep": "[" * 50_000,
    "two hosts": '{"host": "elsewhere", "host": "here", "pid": 1}',
    "no host": {"pid": 1},
    "no pid": {"host": "elsewhere"},
    "a host that is a list": {"host": ["elsewhere"], "pid": 1},
    "a host that is a number": {"host": 5, "pid": 1},
    "a host with ESC": {"host": "\x1b[2J", "pid": 1},
    "an endless host": {"host": "e" * 5_000, "pid": 1},
    "pid 0": {"host": platform.node(), "pid": 0},
    "pid -1": {"host": platform.node(), "pid": -1},
    "pid -9": {"host": "elsewhere", "pid": -9},
    "pid 2**31": {"host": platform.node(), "pid": 2**31},
    "pid 10**400": {"host": platform.node(), "pid": 10**400},
    "pid in a text": {"host": "elsewhere", "pid": "1"},
    "pid true": {"host": "elsewhere", "pid": True},
    "pid 1.0": {"host": "elsewhere", "pid": 1.0},
    "pid NaN": '{"host": "elsewhere", "pid": NaN}',
    "pid null": {"host": "elsewhere", "pid": None},
    "pids": {"host": "elsewhere", "pid": [1]},
    "epoch in a text": {**ELSEWHERE, "epoch": "3"},
    "a cell that is a table": {**ELSEWHERE, "cell": {}},
    "huge": json.dumps(ELSEWHERE) + " " * 2**17,
}


def taken_over(results: Path) -> str:
    """The sentence about the lease, which is neither listed nor keeps anyone out."""
    mine = Leases(results)
    assert not list(mine.active())
    (said,) = mine.take_problems()
    assert mine.acquire(CELL, {})
    assert [cell for cell, _ in mine.active()] == [CELL]
    assert not mine.take_problems(), "said twice"
    return said


@pytest.mark.parametrize("content", BAD_CONTENTS.values(), ids=BAD_CONTENTS)
def test_a_lease_that_cannot_be_read_has_expired_and_is_named_once(
    content: object, tmp_path: Path
) -> None:
    path = write_lease(tmp_path, content)
    said = taken_over(tmp_path)
    assert said.startswith(f"{path} is taken for an expired lease: ")
    assert "\n" not in said


def as_fifo(path: Path) -> None:
    os.mkfifo(path)


def as_link_to_a_lease(path: Path) -> None:
    other = path.with_name("other")
    other.write_text(json.dumps(ELSEWHERE), encoding="utf-8")
    path.symlink_to(other)


def as_link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def as_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def as_empty_folder(path: Path) -> None:
    path.mkdir()


def as_full_folder(path: Path) -> None:
    (path / "inner").mkdir(parents=True)


@pytest.mark.parametrize(
    "make",
    [
        as_fifo,
        as_link_to_a_lease,
        as_link_to_itself,
        as_device,
        as_empty_folder,
        as_full_folder,
    ],
)
def test_what_is_no_file_is_no_lease(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(lease_path(tmp_path))
    assert "expired lease: " in taken_over(tmp_path)


def test_a_lease_of_a_time_to_come_has_expired(tmp_path: Path) -> None:
    made_older(write_lease(tmp_path, ELSEWHERE), -7_200)
    assert "it was written 2.0 h from now" in taken_over(tmp_path)


def test_a_lease_of_a_machine_whose_clock_is_minutes_ahead_counts(tmp_path: Path) -> None:
    made_older(write_lease(tmp_path, ELSEWHERE), -200)
    mine = Leases(tmp_path)
    assert not mine.acquire(CELL, {})
    assert not mine.take_problems()


@pytest.mark.parametrize("name", ["a", "0123456789ABCDEF", f"{CELL}0", " ", "..."])
def test_a_file_whose_name_is_no_cell_s_is_named_and_not_listed(name: str, tmp_path: Path) -> None:
    lease_path(tmp_path, name).write_text(json.dumps(ELSEWHERE), encoding="utf-8")
    mine = Leases(tmp_path)
    assert not list(mine.active())
    assert "its name is not that of a cell" in mine.take_problems()[0]


def test_what_a_later_version_adds_to_a_lease_is_left_out(tmp_path: Path) -> None:
    write_lease(tmp_path, {**ELSEWHERE, "priority": 5})
    assert list(Leases(tmp_path).active()) == [(CELL, ELSEWHERE)]


def test_any_text_about_a_cell_can_be_read_back(tmp_path: Path) -> None:
    told: dict[str, Any] = {"cell": "two\nlines \x1b[0m \udcff " + "x" * 9_000}
    assert Leases(tmp_path).acquire(CELL, told)
    ((_, info),) = Leases(tmp_path).active()
    assert info["cell"].startswith("two\\nlines \\x1b[0m \\udcff xxx")


def test_a_lease_is_not_revoked_for_what_cannot_be_read(tmp_path: Path) -> None:
    path = write_lease(tmp_path, {"host": "elsewhere", "pid": -1, "bundle": "b"})
    Leases(tmp_path).revoke(CELL, bundle="b")
    assert path.exists()
    write_lease(tmp_path, {**ELSEWHERE, "bundle": "b"})
    Leases(tmp_path).revoke(CELL, bundle="b")
    assert not path.exists()


@pytest.mark.parametrize("make", [as_fifo, as_device, as_empty_folder, as_link_to_a_lease])
def test_a_lock_that_is_no_file_is_a_sentence(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(lease_path(tmp_path).with_name(".lock"))
    with pytest.raises(UserError, match=r"\.lock is not a regular file"):
        Leases(tmp_path).acquire(CELL, {})


def test_a_lock_that_is_held_for_long_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LOCK_SECONDS", 0.05)
    with Leases(tmp_path)._lock(), pytest.raises(UserError, match="locked by another process"):
        Leases(tmp_path).acquire(CELL, {})


def test_leases_in_a_folder_elsewhere_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / leases.LEASES_DIR).symlink_to(tmp_path / "elsewhere")
    for act in (lambda one: one.acquire(CELL, {}), lambda one: list(one.active())):
        with pytest.raises(UserError, match="leads out of"):
            act(Leases(tmp_path / "results"))
    assert not list((tmp_path / "elsewhere").iterdir())


def test_looking_at_the_clock_leaves_no_file(tmp_path: Path) -> None:
    mine = Leases(tmp_path)
    mine.folder.mkdir()
    assert abs(mine._now() - time.time()) < 60
    assert not list(mine.folder.iterdir())


def test_of_many_that_acquire_a_lease_at_once_one_succeeds(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from bench.records.leases import Leases\n"
        "mine = Leases(Path(sys.argv[1])); print('ready', flush=True); sys.stdin.readline()\n"
        "print(sum(mine.acquire(f'{i:016x}', {}) for i in range(50)), flush=True)\n"
        "sys.stdin.read()"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    root = paths.REPO_ROOT
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": root}
    many = [subprocess.Popen(words, **pipes) for _ in range(4)]
    for process in many:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in many:  # all of them import first, and begin together
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    counts = [process.stdout.readline() for process in many if process.stdout]
    for process in many:
        process.communicate("")
    assert sum(map(int, counts)) == 50
