"""A file of a data set on the Hugging Face hub."""

# MERGED bench.prepare.downloads: """The files of a source, brought into the data root: each once, whole, and as its card names it."""
# MERGED bench.prepare.downloads: """Files of a source, brought in from where its card says: resumed, verified, or asked for."""
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from bench.config.source import Source, SourceFile
from bench.prepare.downloads.checksums import (
    ByteProgress,
    FileMismatch,
    ThrottledProgress,
    check_contents,
    disk_errors,
    format_bytes,
    mark_verified,
    verify,
)
from bench.prepare.downloads.http import Unavailable, download
from bench.prepare.downloads.partial_file import PartialFile
from bench.utils.errors import UserError, first_line

HUB_ADDRESS = re.compile(r"([\w.-]+/[\w.-]+)@([^:]+):(.+)")


def fetch_from_hub(file: SourceFile, path: Path, progress: ByteProgress) -> None:
    """Download `file` to `path`; raises `Refused` or, with nothing kept, `Wrong`."""
    own = path.with_name(f"{path.name}.hub")  # where the hub's client keeps what it goes on from
    meter = ThrottledProgress(progress, file.name, 0, file.bytes)
    got = _hf_hub_download(file.hub, own)
    try:
        check_contents(file, got, progress)
        with disk_errors(path, "written"):
            os.replace(got, path)
            mark_verified(file, path, path.stat())
    except FileMismatch:
        shutil.rmtree(own, ignore_errors=True)
        raise
    shutil.rmtree(own, ignore_errors=True)
    meter.end(path.stat().st_size)


def _hf_hub_download(place: str, folder: Path) -> Path:
    """The file at ``REPOSITORY@REVISION:PATH``, somewhere below `folder`."""
    parts = HUB_ADDRESS.fullmatch(place)
    if parts is None:
        raise Unavailable("it should read REPOSITORY@REVISION:PATH")
    from huggingface_hub import hf_hub_download  # only here: it takes most of a second

    try:
        with _no_hub_progress_bars():
            path: str = hf_hub_download(
                parts[1], parts[3], revision=parts[2], repo_type="dataset", local_dir=folder
            )
    except Exception as error:  # its HTTP library's, which is not the same in all its versions
        raise Unavailable(first_line(error)) from None
    return Path(path)


@contextmanager
def _no_hub_progress_bars() -> Iterator[None]:
    """The hub's client draws no bars of its own."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


def fetch_all(
    source: Source, root: Path, accepted: Collection[str], progress: ByteProgress
) -> dict[str, Path]:
    """All that a source needs, verified, by the names of its files, below the data root `root`.

    Raises `UserError` before anything is downloaded where a file must be had by hand, where the
    source's terms are not among the `accepted`, or where the disk is too small for what is to come.
    """
    folder = archives_folder(source, root)
    files = required_files(source, folder)
    absent = [file for file in files if locate(file, folder) is None]
    _require_allowed(source, absent, folder, accepted)
    _require_space_for(absent, folder)
    return {file.name: fetch(source, file, folder, progress, accepted) for file in files}


def required_files(source: Source, folder: Path) -> list[SourceFile]:
    """The files that must be had: of a file and what replaces it, the one that lies there.

    Where neither does, it is the first, unless that must be had by hand and the other need not.
    """
    here, spare = present_files(source, folder), set()
    files = {file.name: file for file in source.file}
    for file in source.file:
        if first := files.get(file.replaces):
            easier = is_manual(first) and not is_manual(file)
            taken = file.name in here or (first.name not in here and easier)
            spare.add(first.name if taken else file.name)
    return [file for file in source.file if file.name not in spare]


def present_files(source: Source, folder: Path) -> dict[str, Path]:
    """The files of a source that lie in its folder, or lie there unpacked, by name."""
    places = {file.name: locate(file, folder) for file in source.file}
    return {name: path for name, path in places.items() if path is not None}


def locate(file: SourceFile, folder: Path) -> Path | None:
    """Where a file lies: under its name, unpacked in a folder that lacks the suffix, or repacked.

    Of what may be repacked, any kind of archive will do.
    """
    path = _target_path(file, folder)
    if path.exists():
        return path
    bare = next((path.name.removesuffix(s) for s in ARCHIVE_SUFFIXES if path.name.endswith(s)), "")
    if bare and path.with_name(bare).is_dir():
        return path.with_name(bare)
    others = (
        (path.with_name(bare + suffix) for suffix in ARCHIVE_SUFFIXES)
        if file.repacked and bare
        else ()
    )
    return next((other for other in others if other.exists()), None)


def fetch(
    source: Source,
    file: SourceFile,
    folder: Path,
    progress: ByteProgress,
    accepted: Collection[str] = (),
) -> Path:
    """Where `file` lies in `folder`, verified; it is downloaded if it does not lie there yet.

    Raises `UserError` where that fails. What was downloaded until then is kept, and the next call
    goes on from there.
    """
    if (path := locate(file, folder)) is None:
        _require_allowed(source, [file], folder, accepted)
        path = _target_path(file, folder)
        with _download_lock(path):
            if not path.exists():  # another process may have brought it since
                _require_space_for([file], folder)
                return _download_from_any(file, path, progress)
    try:
        verify(file, path, progress)
    except FileMismatch as error:
        raise UserError(f"{error}; put the right one in place of {path}") from None
    return path


def _download_from_any(file: SourceFile, path: Path, progress: ByteProgress) -> Path:
    """Try the addresses in turn, then the hub."""
    failures = []
    with PartialFile(file, path) as part:
        ways = {url: partial(_download_from_url, part, url) for url in file.urls}
        if file.hub:
            ways[file.hub] = partial(_download_from_hub, part)
        for place, bring in ways.items():
            try:
                bring(progress)
                return path
            except (Unavailable, FileMismatch) as error:
                failures.append(f"{place}: {error}")
        kept = f"; {format_bytes(part.size)} are kept, and the next try goes on from there"
        raise UserError(
            f"{file.name} could not be downloaded: {'; '.join(failures)}{kept if part.size else ''}"
        )


def _download_from_url(part: PartialFile, url: str, progress: ByteProgress) -> None:
    """Raises `Refused` or, with nothing kept, `Wrong`."""
    resumed = part.size > 0
    download(part, url, progress)
    try:
        part.check(progress)
    except FileMismatch:
        part.truncate(0)
        if not resumed:
            raise
        return _download_from_url(part, url, progress)  # what was had before may be to blame
    return part.finish()


def _download_from_hub(part: PartialFile, progress: ByteProgress) -> None:
    """Raises `Refused` or `Wrong`."""
    fetch_from_hub(part.file, part.final, progress)
    part.truncate(0)


def _require_allowed(
    source: Source, absent: list[SourceFile], folder: Path, accepted: Collection[str]
) -> None:
    """Raise `UserError` where a person has to act before these files can be downloaded."""
    if by_hand := [file for file in absent if is_manual(file)]:
        paths = ", ".join(str(_target_path(file, folder).absolute()) for file in by_hand)
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


def is_manual(file: SourceFile) -> bool:
    """Whether no address serves a file."""
    return not (file.urls or file.hub)


def _require_space_for(files: Iterable[SourceFile], folder: Path) -> None:
    """Raise `UserError` where the disk cannot take what is still to come of these files."""
    require_free_space(
        sum(max(file.bytes - _partial_size(file, folder), 0) for file in files), folder
    )


def require_free_space(need: int, folder: Path) -> None:
    """Raise `UserError` where the disk of a folder, which may not be there yet, has less room."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    with disk_errors(there, "read"):
        free = shutil.disk_usage(there).free
    if need > free:
        raise UserError(f"E-SPACE need {format_bytes(need)}, free {format_bytes(free)} in {folder}")


def archives_folder(source: Source, root: Path) -> Path:
    """Where the archives of a source lie, below the data root."""
    return root / "archives" / source.name


def _partial_size(file: SourceFile, folder: Path) -> int:
    path = _target_path(file, folder)
    part = path.with_name(f"{path.name}.part")
    return part.stat().st_size if part.exists() else 0


def _target_path(file: SourceFile, folder: Path) -> Path:
    parts = PurePosixPath(file.name)
    if parts.is_absolute() or ".." in parts.parts:
        raise UserError(f"the file name {file.name!r} of a card leads out of {folder}")
    return folder / parts


@contextmanager
def _download_lock(path: Path) -> Iterator[None]:
    """Nobody else downloads to `path` meanwhile; raises `UserError` where somebody does."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        with disk_errors(path, "written"):
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
