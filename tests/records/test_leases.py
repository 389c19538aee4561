"""Leases: which process may run a cell, and until when."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from bench.records import leases
from bench.records.leases import Leases
from support import paths


def test_a_lease_keeps_others_out_until_it_is_released(tmp_path: Path) -> None:
    first, second = Leases(tmp_path), Leases(tmp_path)
    assert first.acquire("a", {"cell": "linear"})
    assert not second.acquire("a", {})
    first.release("a")
    assert second.acquire("a", {})


def test_all_leases_are_listed_with_the_information_of_their_holders(tmp_path: Path) -> None:
    mine = Leases(tmp_path)
    mine.acquire("a", {"cell": "linear"})
    mine.update("a", epoch=3)
    mine.renew()
    ((cell, info),) = Leases(tmp_path).active()
    assert (cell, info["cell"], info["epoch"], info["pid"]) == ("a", "linear", 3, os.getpid())


def of_another_machine(folder: Path, cell: str) -> Path:
    path = folder / leases.LEASES_DIR / f"{cell}.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1}), encoding="utf-8")
    return path


def test_a_lease_that_nobody_renews_expires(tmp_path: Path) -> None:
    path = of_another_machine(tmp_path, "a")
    assert not Leases(tmp_path).acquire("a", {})
    old = path.stat().st_mtime - leases.EXPIRY_SECONDS - 1
    os.utime(path, (old, old))
    assert not list(Leases(tmp_path).active())
    assert Leases(tmp_path).acquire("a", {})


def test_a_lease_that_is_renewed_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.0)
    mine = Leases(tmp_path)
    mine.acquire("a", {})
    path = tmp_path / leases.LEASES_DIR / "a.json"
    os.utime(path, (0, 0))
    mine.renew()
    assert not Leases(tmp_path).acquire("a", {})


def test_a_lease_of_a_process_of_this_machine_that_ended_expires(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                           capture_output=True, text=True, check=True)  # fmt: skip
    path = of_another_machine(tmp_path, "a")
    path.write_text(
        json.dumps({"host": platform.node(), "pid": int(ended.stdout)}), encoding="utf-8"
    )
    assert Leases(tmp_path).acquire("a", {})


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_lease_that_cannot_be_read_is_ignored(content: str, tmp_path: Path) -> None:
    of_another_machine(tmp_path, "a").write_text(content, encoding="utf-8")
    assert Leases(tmp_path).acquire("a", {})


def test_of_many_that_acquire_a_lease_at_once_one_succeeds(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from bench.records.leases import Leases\n"
        "mine = Leases(Path(sys.argv[1])); print('ready', flush=True); sys.stdin.readline()\n"
        "print(sum(mine.acquire(str(i), {}) for i in range(50)), flush=True); sys.stdin.read()"
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
