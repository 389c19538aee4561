"""Download of a source's files into the data root, resumed and verified.

A file comes from the URLs of its source's card or from the Hugging Face hub; one that has neither
must be put in place by hand.
"""

import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from bench.config.suite import Source, SourceFile
from bench.prepare.downloads.checksums import (
    ByteProgress,
    FileMismatch,
    PartialFile,
    ThrottledProgress,
    check_contents,
    disk_errors,
    format_bytes,
    mark_verified,
    verify,
)
from bench.prepare.downloads.http import Unavailable, download
from bench.utils.errors import UserError, first_line

ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
HUB_ADDRESS = re.compile(r"([\w.-]+/[\w.-]+)@([^:]+):(.+)")  # repository, revision, path


def fetch_all(
    source: Source, root: Path, accepted: Collection[str], progress: ByteProgress
) -> dict[str, Path]:
    """Fetch and verify all required files of a source; return their paths by name.

    Raises `UserError` before any download if a file must be got by hand, if the source's terms are
    not among the `accepted`, or if the disk is too small.
    """
    folder = archives_folder(source, root)
    files = required_files(source, folder)
    missing = [file for file in files if locate(file, folder) is None]
    _require_allowed(source, missing, folder, accepted)
    _require_space_for(missing, folder)
    return {file.name: fetch(source, file, folder, progress, accepted) for file in files}


def required_files(source: Source, folder: Path) -> list[SourceFile]:
    """List the required files: of a file and its replacement, only the one that is present.

    If neither is, the first, unless it must be got by hand and its replacement need not.
    """
    present, spare = present_files(source, folder), set()
    files = {file.name: file for file in source.file}
    for file in source.file:
        if first := files.get(file.replaces):
            easier = is_manual(first) and not is_manual(file)
            replaces = file.name in present or (first.name not in present and easier)
            spare.add(first.name if replaces else file.name)
    return [file for file in source.file if file.name not in spare]


def present_files(source: Source, folder: Path) -> dict[str, Path]:
    """Return the paths of a source's files that are present, as archives or extracted, by name."""
    places = {file.name: locate(file, folder) for file in source.file}
    return {name: path for name, path in places.items() if path is not None}


def locate(file: SourceFile, folder: Path) -> Path | None:
    """Return the path of a file that is present, else None.

    Also accepted are a folder of its name without suffix, to which it was extracted, and, if the
    card allows repacking, an archive of another kind.
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
    """Return the path of `file` in `folder`; download it if it is missing, and verify it.

    Raises `UserError` on failure; a partial download is kept, and the next call resumes it.
    """
    if (path := locate(file, folder)) is None:
        _require_allowed(source, [file], folder, accepted)
        path = _target_path(file, folder)
        with _download_lock(path):
            if not path.exists():  # another process may have downloaded it since
                _require_space_for([file], folder)
                return _download_from_any(file, path, progress)
    try:
        verify(file, path, progress)
    except FileMismatch as error:
        raise UserError(f"{error}; put the right one in place of {path}") from None
    return path


def _download_from_any(file: SourceFile, path: Path, progress: ByteProgress) -> Path:
    """Try the URLs in turn, then the hub."""
    failures = []
    with PartialFile(file, path) as part:
        downloads = {url: partial(_download_from_url, part, url) for url in file.urls}
        if file.hub:
            downloads[file.hub] = partial(_download_from_hub, part)
        for address, run in downloads.items():
            try:
                run(progress)
                return path
            except (Unavailable, FileMismatch) as error:
                failures.append(f"{address}: {error}")
        kept = f"; {format_bytes(part.size)} are kept, and the next try goes on from there"
        raise UserError(
            f"{file.name} could not be downloaded: {'; '.join(failures)}{kept if part.size else ''}"
        )


def _download_from_url(part: PartialFile, url: str, progress: ByteProgress) -> None:
    """Complete and check `part`; raise `Unavailable`, or `FileMismatch` after truncating it."""
    resumed = part.size > 0
    download(part, url, progress)
    try:
        part.check(progress)
    except FileMismatch:
        part.truncate(0)
        if not resumed:
            raise
        return _download_from_url(part, url, progress)  # the part from before may be at fault
    return part.finish()


def _download_from_hub(part: PartialFile, progress: ByteProgress) -> None:
    """Download from the hub instead of `part`; raise `Unavailable` or `FileMismatch`."""
    _fetch_from_hub(part.file, part.final, progress)
    part.truncate(0)


def _fetch_from_hub(file: SourceFile, path: Path, progress: ByteProgress) -> None:
    """Download `file` to `path`.

    Raises `Unavailable`, or `FileMismatch` after deleting the download.
    """
    scratch = path.with_name(f"{path.name}.hub")  # the hub's client resumes from it
    meter = ThrottledProgress(progress, file.name, 0, file.bytes)
    downloaded = _hf_hub_download(file.hub, scratch)
    try:
        check_contents(file, downloaded, progress)
        with disk_errors(path, "written"):
            os.replace(downloaded, path)
            mark_verified(file, path, path.stat())
    except FileMismatch:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    shutil.rmtree(scratch, ignore_errors=True)
    meter.end(path.stat().st_size)


def _hf_hub_download(address: str, folder: Path) -> Path:
    """Download ``REPOSITORY@REVISION:PATH`` below `folder`; return the file's path."""
    parts = HUB_ADDRESS.fullmatch(address)
    if parts is None:
        raise Unavailable("it should read REPOSITORY@REVISION:PATH")
    from huggingface_hub import hf_hub_download  # slow to import

    try:
        with _no_hub_progress_bars():
            path: str = hf_hub_download(
                parts[1], parts[3], revision=parts[2], repo_type="dataset", local_dir=folder
            )
    except Exception as error:  # those of its HTTP library, which depends on its version
        raise Unavailable(first_line(error)) from None
    return Path(path)


@contextmanager
def _no_hub_progress_bars() -> Iterator[None]:
    """Disable the progress bars of the hub's client."""
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


def _require_allowed(
    source: Source, missing: list[SourceFile], folder: Path, accepted: Collection[str]
) -> None:
    """Raise `UserError` if the user must act before these files can be downloaded."""
    if manual := [file for file in missing if is_manual(file)]:
        paths = ", ".join(str(_target_path(file, folder).absolute()) for file in manual)
        how = "; ".join(dict.fromkeys(file.how for file in manual))
        raise UserError(
            f"{source.name}: put {paths} there by hand: {how} "
            f"(its terms: {source.licence}, {source.home})"
        )
    if missing and source.access == "terms" and source.name not in accepted:
        raise UserError(
            f"{source.name}: its terms ({source.licence}, {source.home}) must be accepted: "
            f"read them, then add --accept-license {source.name}"
        )


def is_manual(file: SourceFile) -> bool:
    """Return whether a file must be downloaded by hand."""
    return not (file.urls or file.hub)


def _require_space_for(files: Iterable[SourceFile], folder: Path) -> None:
    """Raise `UserError` if the disk has no room for the rest of these files."""
    require_free_space(
        sum(max(file.bytes - _partial_size(file, folder), 0) for file in files), folder
    )


def require_free_space(need: int, folder: Path) -> None:
    """Raise `UserError` if the disk of a folder, which need not exist yet, has less space."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    with disk_errors(existing, "read"):
        free = shutil.disk_usage(existing).free
    if need > free:
        raise UserError(f"E-SPACE need {format_bytes(need)}, free {format_bytes(free)} in {folder}")


def archives_folder(source: Source, root: Path) -> Path:
    """Return the folder of a source's archives, below the data root."""
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
    """Lock downloads to `path`; raise `UserError` if another process holds the lock."""
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
