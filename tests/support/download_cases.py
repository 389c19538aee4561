"""A source card of one file, and helpers to download it and see the outcome."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from bench.config.suite import Source, SourceFile
from bench.prepare.downloads import fetch
from bench.utils.errors import UserError
from support.scripted_server import Step

CONTENT = bytes(range(256)) * 4000  # 1,024,000 bytes
OTHER = CONTENT[::-1]
CUT = 300_001
NAME = "images.zip"
PAGE = b"<!DOCTYPE html><html><body>Quota exceeded</body></html>"
FINE = Step(CONTENT)
TORN = Step(CONTENT, stop=CUT)


def a_file(*urls: str, content: bytes = CONTENT, **fields: Any) -> SourceFile:
    facts = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return SourceFile(NAME, **{**facts, "urls": list(urls), "how": "ask its authors", **fields})


def a_source(*files: SourceFile, **fields: Any) -> Source:
    known = {"name": "digits", "title": "Digits", "format": "folder", "native": "png"}
    known |= {"licence": "CC BY 4.0", "home": "https://digits.example", "access": "open"}
    return Source(**{**known, "prepared_bytes": 1, "file": list(files), **fields})


def told(name: str, done: int, total: int) -> None:
    assert done <= total or total == 0


def brought(file: SourceFile, folder: Path) -> Path:
    return fetch(a_source(file), file, folder, told)


def refused(file: SourceFile, folder: Path) -> str:
    """The error message of a download that must fail and leave no file."""
    with pytest.raises(UserError) as raised:
        brought(file, folder)
    assert not (folder / NAME).exists()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def part(folder: Path) -> bytes:
    """The bytes kept of an unfinished download."""
    path = folder / f"{NAME}.part"
    return path.read_bytes() if path.exists() else b""


def left_over(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {NAME, f"{NAME}.verified", f".{NAME}.lock"}
