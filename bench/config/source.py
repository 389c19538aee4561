"""Cards of sources: data sets as they are published, their files and where to get them."""

from dataclasses import field
from pathlib import Path
from typing import Literal

from pydantic.dataclasses import dataclass

from bench.config.bounds import Count, Flag, Line, Name, NameOrPath, Plain, Text, check_inner_path
from bench.config.loading import SUITES_DIR, load_card
from bench.records.schema import STRICT

SOURCES_DIR = SUITES_DIR / "sources"


@dataclass(frozen=True, config=STRICT)
class SourceFile:
    """One archive or other file, as published."""

    name: NameOrPath  # in archives/<source>/; a folder of that name, extracted, also serves
    bytes: Count = 0  # 0: unknown
    sha256: Line = ""
    md5: Line = ""
    urls: list[NameOrPath] = field(default_factory=list)  # tried in turn
    hub: Line = ""  # on the Hugging Face hub: REPOSITORY@REVISION:PATH
    replaces: NameOrPath = ""  # a file that is not needed if this one is present
    how: Text = ""  # how to get it by hand, if it cannot be downloaded
    repacked: Flag = False  # any archive of the same files will do: they are checked by name


@dataclass(frozen=True, config=STRICT)
class Source:
    """A data set as published."""

    name: Name
    title: Line
    format: Line  # its reader: a name of bench.prepare.readers
    native: Literal["png", "jpeg"]  # storage of its images: published JPEG files, or lossless PNG
    licence: Line
    home: Line  # the data set's page, with its terms
    access: Literal["open", "terms", "login", "dead"]
    prepared_bytes: Count  # approximate size of the prepared data
    file: list[SourceFile]
    options: dict[str, Plain] = field(default_factory=dict)  # of the reader
    scratch_bytes: Count = 0  # approximate temporary space for unpacking
    repeats: Flag = False  # its own test images include byte-identical training images

    def __post_init__(self) -> None:
        names = {file.name for file in self.file}
        for file in self.file:
            check_inner_path(file.name)
            if file.replaces and file.replaces not in names:
                raise ValueError(f"{file.name} replaces {file.replaces!r}, which is no file here")
            if not (file.urls or file.hub or file.how):
                raise ValueError(f"{file.name} needs urls, hub or how")
            if file.repacked and (file.bytes or file.sha256 or file.md5):
                raise ValueError(f"{file.name} may be repacked, so it has no bytes and no hash")


def load_source(name: str, place: Path = SOURCES_DIR) -> Source:
    """Load a source by name; ``name.toml`` is a card in the folder `place`."""
    return load_card(
        Source, "source", str(place / name) if name.endswith(".toml") else name, SOURCES_DIR
    )


def card_folder(suite: str) -> Path:
    """Return the folder of the source cards that a suite's card names by file."""
    return Path(suite).parent if suite.endswith(".toml") else SOURCES_DIR
