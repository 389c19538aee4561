"""A sandbox: folders that a fuzzed command is told of, beside others that it must leave alone."""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

SECRET = "canary-5c1f0a"  # in every file that no command was told of
MAX_HASHED = 2**22
_numbers = count()


class Sandbox:
    """Folders below a root of its own: ``work`` is the command's, ``outside`` is named nowhere."""

    def __init__(self, root: Path):
        self.root = root
        self.work = root / "work"
        self.results, self.theirs = self.work / "results", self.work / "theirs"
        self.data, self.cards = self.work / "data", self.work / "cards"
        self.outside = root / "outside"
        for folder in (self.work, self.theirs, self.outside):
            folder.mkdir(parents=True)
        for name in ("secret.txt", "secret.json", "secret.npz", "secret.png", "secret.toml"):
            (self.outside / name).write_text(f"{SECRET}\n", encoding="utf-8")
        (root / "canary.txt").write_text(SECRET, encoding="utf-8")


@contextmanager
def fresh_sandbox(parent: Path) -> Iterator[Sandbox]:
    """A sandbox in a folder that none before it had, so that no cache by path is hit."""
    root, before = parent / f"sandbox{next(_numbers)}", Path.cwd()
    made = Sandbox(root)
    os.chdir(made.work)
    try:
        yield made
    finally:
        os.chdir(before)
        shutil.rmtree(root)


def snapshot(root: Path, without: Iterable[Path] = ()) -> dict[str, str]:
    """A description of each path below `root`, but for those below `without`."""
    left_out = {os.path.abspath(path) for path in without}
    found = {}
    for folder, below, files in os.walk(root):
        below[:] = [name for name in below if os.path.join(folder, name) not in left_out]
        for name in (*below, *files):
            path = os.path.join(folder, name)
            if path not in left_out:
                found[path] = _describe(path)
    return found


def _describe(path: str) -> str:
    there = os.lstat(path)
    kind = f"{stat.filemode(there.st_mode)} {there.st_rdev}"
    if stat.S_ISLNK(there.st_mode):
        return f"{kind} {os.readlink(path)}"
    if not stat.S_ISREG(there.st_mode):
        return kind
    if there.st_size > MAX_HASHED:
        return f"{kind} {there.st_size} {there.st_mtime_ns}"
    return f"{kind} {hashlib.sha256(Path(path).read_bytes()).hexdigest()}"


def holders_of_secret(folder: Path) -> list[Path]:
    """The regular files of a folder into which a secret has come."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    small = [path for path in files if path.stat().st_size <= MAX_HASHED]
    return [path for path in small if SECRET.encode() in path.read_bytes()]
