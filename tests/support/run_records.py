"""Records of a results folder and what a command printed; methods registered for one test."""

import json
from dataclasses import dataclass
from pathlib import Path

from methods import Method, Unsupported
from methods.linear import Linear
from methods.shared import registry

NUMBERS = ("accuracy", "best_epoch_accuracy", "best_epoch", "losses", "test_accuracies",
           "predictions", "method_params", "init_images")  # fmt: skip


@dataclass(frozen=True)
class Raising(Linear):
    """A method that fails in `prepare` with the exception `error`."""

    error: str = "RuntimeError"
    message: str = "it broke badly"

    def prepare(self, model, batches):
        kinds = {
            "RuntimeError": RuntimeError,
            "MemoryError": MemoryError,
            "KeyboardInterrupt": KeyboardInterrupt,
            "Unsupported": Unsupported,
        }
        raise kinds[self.error](self.message.replace(" badly", "\nbadly"))


def records(folder: Path) -> dict[str, dict]:
    """All records of a results folder, by file name."""
    return {
        path.name: json.loads(path.read_text(encoding="utf-8"))
        for path in (folder / "records").rglob("*.json")
    }


def by_method(folder: Path) -> dict[str, dict]:
    return {record["settings"]["method"]: record for record in records(folder).values()}


def measured_values(folder: Path) -> dict[str, dict]:
    """The measured values of all records, without times, by file name."""
    return {
        name: {number: record["outcome"][number] for number in NUMBERS}
        for name, record in records(folder).items()
    }


def write_times(folder: Path) -> dict[str, int]:
    """The modification time of every record, by file name."""
    return {p.name: p.stat().st_mtime_ns for p in (folder / "records").rglob("*.json")}


def record_path(folder: Path, method: str) -> Path:
    return next((folder / "records").rglob(f"{method}-*.json"))


def one_sentence(capsys) -> str:
    """The single line on stderr."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("bench: ")
    return lines[0]


def register(monkeypatch, name: str, method: Method) -> None:
    monkeypatch.setitem(registry._methods, name, method)
