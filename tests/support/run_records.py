"""Records of a results folder, and the registration of a method for one test."""

import json
from pathlib import Path

from methods import Method
from methods.shared import registry


def records(folder: Path) -> dict[str, dict]:
    """Every record below a results folder by its file's name."""
    return {
        path.name: json.loads(path.read_text()) for path in (folder / "records").rglob("*.json")
    }


def by_method(folder: Path) -> dict[str, dict]:
    return {record["settings"]["method"]: record for record in records(folder).values()}


def register(monkeypatch, name: str, method: Method) -> None:
    monkeypatch.setitem(registry._methods, name, method)
