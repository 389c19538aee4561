"""The files of a source, brought into the data root: each once, whole, and as its card names it."""

import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from bench.errors import UserError
from bench.prepare.downloads import hub
from bench.prepare.downloads.part import Part
from bench.prepare.downloads.transfer import Refused, fill
from bench.prepare.downloads.verifying import Progress, Wrong, amount, on_disk, verify
from bench.sources import File, Source

PACKED = (".tar.gz", ".tgz", ".tar", ".zip", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


def fetch_all(
    source: Source, root: Path, accepted: Collection[str], progress: Progress
) -> dict[str, Path]:
    """All that a source needs, verified, by the names of its files, below the data root `root`.

    Raises `UserError` before anything is downloaded where a file must be had by hand, where the
    source's terms are not among the `accepted`, or where the disk is too small for what is to come.
    """
    folder = folder_of(source, root)
    files = needed(source, folder)
    absent = [file for file in files if found(file, folder) is None]
    _require_allowed(source, absent, folder, accepted)
    _require_space(absent, folder)
    return {file.name: fetch(source, file, folder, progress, accepted) for file in files}


def needed(source: Source, folder: Path) -> list[File]:
    """The files that must be had: of a file and what replaces it, the one that lies there.

    Where neither does, it is the first, unless that must be had by hand and the other need not.
    """
    here, spare = present(source, folder), set()
    files = {file.name: file for file in source.file}
    for file in source.file:
        if first := files.get(file.replaces):
            easier = is_by_hand(first) and not is_by_hand(file)
            taken = file.name in here or (first.name not in here and easier)
            spare.add(first.name if taken else file.name)
    return [file for file in source.file if file.name not in spare]


def present(source: Source, folder: Path) -> dict[str, Path]:
    """The files of a source that lie in its folder, or lie there unpacked, by name."""
    places = {file.name: found(file, folder) for file in source.file}
    return {name: path for name, path in places.items() if path is not None}


def found(file: File, folder: Path) -> Path | None:
    """Where a file lies: under its name, unpacked in a folder that lacks the suffix, or repacked.

    Of what may be repacked, any kind of archive will do.
    """
    path = _place(file, folder)
    if path.exists():
        return path
    bare = next((path.name.removesuffix(s) for s in PACKED if path.name.endswith(s)), "")
    if bare and path.with_name(bare).is_dir():
        return path.with_name(bare)
    others = (path.with_name(bare + suffix) for suffix in PACKED) if file.repacked and bare else ()
    return next((other for other in others if other.exists()), None)


def fetch(
    source: Source, file: File, folder: Path, progress: Progress, accepted: Collection[str] = ()
) -> Path:
    """Where `file` lies in `folder`, verified; it is downloaded if it does not lie there yet.

    Raises `UserError` where that fails. What was downloaded until then is kept, and the next call
    goes on from there.
    """
    if (path := found(file, folder)) is None:
        _require_allowed(source, [file], folder, accepted)
        path = _place(file, folder)
        with _claimed(path):
            if not path.exists():  # another process may have brought it since
                _require_space([file], folder)
                return _download(file, path, progress)
    try:
        verify(file, path, progress)
    except Wrong as error:
        raise UserError(f"{error}; put the right one in place of {path}") from None
    return path


def _download(file: File, path: Path, progress: Progress) -> Path:
    """Try the addresses in turn, then the hub."""
    failures = []
    with Part(file, path) as part:
        ways = {url: partial(_from_address, part, url) for url in file.urls}
        if file.hub:
            ways[file.hub] = partial(_from_hub, part)
        for place, bring in ways.items():
            try:
                bring(progress)
                return path
            except (Refused, Wrong) as error:
                failures.append(f"{place}: {error}")
        kept = f"; {amount(part.size)} are kept, and the next try goes on from there"
        raise UserError(
            f"{file.name} could not be downloaded: {'; '.join(failures)}{kept if part.size else ''}"
        )


def _from_address(part: Part, url: str, progress: Progress) -> None:
    """Raises `Refused` or, with nothing kept, `Wrong`."""
    resumed = part.size > 0
    fill(part, url, progress)
    try:
        part.check(progress)
    except Wrong:
        part.cut(0)
        if not resumed:
            raise
        return _from_address(part, url, progress)  # what was had before may be to blame
    return part.finish()


def _from_hub(part: Part, progress: Progress) -> None:
    """Raises `Refused` or `Wrong`."""
    hub.bring(part.file, part.final, progress)
    part.cut(0)


def _require_allowed(
    source: Source, absent: list[File], folder: Path, accepted: Collection[str]
) -> None:
    """Raise `UserError` where a person has to act before these files can be downloaded."""
    if by_hand := [file for file in absent if is_by_hand(file)]:
        paths = ", ".join(str(_place(file, folder).absolute()) for file in by_hand)
        how = "; ".join(dict.fromkeys(file.how for file in by_hand))
        raise UserError(
            f"{source.name}: put {paths} there by hand: {how} "
            f"(its terms: {source.licence}, {source.home})"
        )
    if absent and source.access == "terms" and source.name not in accepted:
        raise UserError(
            f"{source.name}: its terms ({source.licence}, {source.home}) must be accepted: "
            f"read them, then add --accept-license {source.name}"
        )


def is_by_hand(file: File) -> bool:
    """Whether no address serves a file."""
    return not (file.urls or file.hub)


def _require_space(files: Iterable[File], folder: Path) -> None:
    """Raise `UserError` where the disk cannot take what is still to come of these files."""
    require_free(sum(max(file.bytes - _had(file, folder), 0) for file in files), folder)


def require_free(need: int, folder: Path) -> None:
    """Raise `UserError` where the disk of a folder, which may not be there yet, has less room."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    with on_disk(there, "read"):
        free = shutil.disk_usage(there).free
    if need > free:
        raise UserError(f"E-SPACE need {amount(need)}, free {amount(free)} in {folder}")


def folder_of(source: Source, root: Path) -> Path:
    """Where the archives of a source lie, below the data root."""
    return root / "archives" / source.name


def _had(file: File, folder: Path) -> int:
    path = _place(file, folder)
    part = path.with_name(f"{path.name}.part")
    return part.stat().st_size if part.exists() else 0


def _place(file: File, folder: Path) -> Path:
    parts = PurePosixPath(file.name)
    if parts.is_absolute() or ".." in parts.parts:
        raise UserError(f"the file name {file.name!r} of a card leads out of {folder}")
    return folder / parts


@contextmanager
def _claimed(path: Path) -> Iterator[None]:
    """Nobody else downloads to `path` meanwhile; raises `UserError` where somebody does."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        with on_disk(path, "written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            _acquire(lock, path)
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, path: Path) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{path} is being downloaded by another process: wait for that, then try again"
        ) from None
