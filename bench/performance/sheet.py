"""The file of all measurements: a line a row, each with its machine."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.errors import UserError
from bench.performance.rows import Line, Machine, Row
from bench.records import write_atomically

FILE = "performance.csv"
_adapter = TypeAdapter(list[Line])


def write(path: Path, lines: Iterable[Line]) -> None:
    """Write the lines as CSV; figures with six digits."""
    text = io.StringIO()
    heads = ["section", *(field.name for kind in (Row, Machine) for field in fields(kind))]
    table = csv.DictWriter(text, heads, lineterminator="\n")
    table.writeheader()
    table.writerows(_flat(line) for line in lines)
    write_atomically(path, text.getvalue().encode())


def read(path: Path) -> list[Line]:
    """The lines of the file; none where there is none. Raises `UserError` for another's file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        lines = [_nested(line) for line in csv.DictReader(file)]
    try:
        return _adapter.validate_python(lines)
    except ValidationError as error:
        first = error.errors()[0]
        line, *where = first["loc"]
        raise UserError(
            f"{path}, line {int(line) + 2}: {where[-1]}: {first['msg']}; a file that "
            "`python -m bench performance` wrote was expected: restore it, or remove it"
        ) from None


def replaced(lines: Sequence[Line], section: str, device: str) -> list[Line]:
    """The lines but for those of a section that were measured on this kind of device."""
    return [line for line in lines if (line.section, line.machine.device) != (section, device)]


def _flat(line: Line) -> dict[str, object]:
    values = {"section": line.section, **asdict(line.row), **asdict(line.machine)}
    return {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in values.items()}


def _nested(line: dict[str, Any]) -> dict[str, Any]:
    """A line in its parts; what is empty is left to its default."""

    def part(kind: type) -> dict[str, str]:
        return {f.name: line[f.name] for f in fields(kind) if line.get(f.name)}

    row = {"value": None, **part(Row)}
    return {"section": line.get("section"), "row": row, "machine": {"commit": "", **part(Machine)}}
