"""What readers share: finding a source's files, choosing records, saying what is broken."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import UserError, first_line
from bench.prepare.archives import BROKEN, opened
from bench.prepare.formats.base import Files, Name

MISREAD = (*BROKEN, ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError)


def found(files: Files, *names: str) -> Path:
    """The first of those files that is there."""
    for name in names:
        if name in files:
            return files[name]
    raise UserError(f"none of the source's files is {' or '.join(names)}")


def top(path: Path, folder: str) -> str:
    """What the names in an archive begin with; an extracted folder may be that folder itself."""
    return "" if path.is_dir() and not (path / folder).is_dir() else f"{folder}/"


def member(path: Path, name: str) -> bytes:
    """One file of an archive."""
    return dict(opened(path).read([name]))[name]


@contextmanager
def readable(origin: object) -> Iterator[None]:
    """What libraries raise for a file of another layout, as one sentence that names `origin`."""
    try:
        yield
    except MISREAD as error:
        said = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{origin} is not laid out as published ({said})") from None


def require_equal(origin: object, labels: int, images: int) -> None:
    """Raise `UserError` where a file has not one label an image."""
    if labels != images:
        raise UserError(f"{origin}: {labels:,} labels for {images:,} images")


def indices(
    wanted: Collection[Name], split: str, count: int, origin: object, prefix: str = ""
) -> list[int]:
    """The numbers of a split's wanted records, ascending; raises `UserError` for one beyond."""
    chosen = sorted(int(key.removeprefix(prefix)) for where, key in wanted if where == split)
    if chosen and chosen[-1] >= count:
        raise UserError(f"{origin}: no record {chosen[-1]}; it holds {count:,}")
    return chosen


def keys(wanted: Collection[Name], split: str) -> set[str]:
    """The wanted records of a split."""
    return {key for where, key in wanted if where == split}
