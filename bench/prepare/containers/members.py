"""What formats do with their archives' members: find them, and understand what they say."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from bench.errors import UserError, first_line
from bench.prepare.containers.archives import BROKEN, Archive, Folder, opened, sound

# what a parser raises for a file of another layout
MISREAD = (*BROKEN, ValueError, LookupError, TypeError, AttributeError, RuntimeError)
N = TypeVar("N")  # how the records are told apart


def file_of(files: Mapping[str, Path], *names: str) -> Path:
    """The first of those files that is there."""
    for name in names:
        if name in files:
            return files[name]
    raise UserError(f"{' or '.join(names)} is not there; there is {', '.join(files) or 'nothing'}")


def below(archive: Archive, top: str) -> str:
    """How names in `archive` begin: with the folder `top`, unless it was unpacked without it."""
    if isinstance(archive, Folder) and not (archive.path / top).is_dir():
        return ""
    return f"{top}/"


def text(path: Path, member: str, top: str = "") -> str:
    """What a member of the archive at `path` says."""
    archive = opened(path)
    full = below(archive, top) + member if top else member
    [(_, content)] = archive.read([full])
    with understood(path, full):
        return content.decode()


def pictures(path: Path, members: Mapping[str, N]) -> Iterator[tuple[N, bytes]]:
    """The images of records, by the members of the archive at `path` that hold them."""
    for member, content in opened(path).read(members):
        yield members[member], content


def wherever(path: Path, ends: Mapping[str, N]) -> Iterator[tuple[N, bytes]]:
    """The images of records, by how their members' paths end, below whatever folders.

    Raises `UserError` for what is not there, and for what is there twice.
    """
    depths = {end.count("/") + 1 for end in ends}

    def end_of(name: str) -> str:
        steps = name.split("/")
        return next((end for d in depths if (end := "/".join(steps[-d:])) in ends), "")

    seen: dict[str, str] = {}
    with sound(path):
        for name, stream in opened(path).streams(lambda name: bool(end_of(name))):
            first = seen.setdefault(end_of(name), name)
            if first != name:
                raise UserError(f"{path}: one image is there as {first} and as {name}")
            yield ends[end_of(name)], stream.read()
    lost = sorted(ends.keys() - seen.keys())
    if lost:
        some = ", ".join(lost[:3])
        raise UserError(f"{path}: {len(lost):,} of {len(ends):,} images are missing: {some}")


def member(path: Path, name: str) -> bytes:
    """One file of the archive at `path`."""
    return dict(opened(path).read([name]))[name]


@contextmanager
def understood(origin: object, member: str = "") -> Iterator[None]:
    """What libraries raise for a file of another layout, as one sentence that names `origin`."""
    try:
        yield
    except MISREAD as error:
        where = f"{origin}: its member {member}" if member else str(origin)
        said = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{where} is not laid out as published ({said})") from None
