"""A file of a data set on the Hugging Face hub."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import first_line
from bench.prepare.downloads.transfer import Refused
from bench.prepare.downloads.verifying import Meter, Progress, Wrong, inspect, on_disk, remember
from bench.sources import File

PLACE = re.compile(r"([\w.-]+/[\w.-]+)@([^:]+):(.+)")


def bring(file: File, path: Path, progress: Progress) -> None:
    """Download `file` to `path`; raises `Refused` or, with nothing kept, `Wrong`."""
    own = path.with_name(f"{path.name}.hub")  # where the hub's client keeps what it goes on from
    meter = Meter(progress, file.name, 0, file.bytes)
    got = _downloaded(file.hub, own)
    try:
        inspect(file, got, progress)
        with on_disk(path, "written"):
            os.replace(got, path)
            remember(file, path, path.stat())
    except Wrong:
        shutil.rmtree(own, ignore_errors=True)
        raise
    shutil.rmtree(own, ignore_errors=True)
    meter.end(path.stat().st_size)


def _downloaded(place: str, folder: Path) -> Path:
    """The file at ``REPOSITORY@REVISION:PATH``, somewhere below `folder`."""
    parts = PLACE.fullmatch(place)
    if parts is None:
        raise Refused("it should read REPOSITORY@REVISION:PATH")
    from huggingface_hub import hf_hub_download  # only here: it takes most of a second

    try:
        with _quiet():
            path: str = hf_hub_download(
                parts[1], parts[3], revision=parts[2], repo_type="dataset", local_dir=folder
            )
    except Exception as error:  # its HTTP library's, which is not the same in all its versions
        raise Refused(first_line(error)) from None
    return Path(path)


@contextmanager
def _quiet() -> Iterator[None]:
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
