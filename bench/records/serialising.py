"""Records as JSON that can be read back: long and odd texts are cut and made plain."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from bench.records import parsing
from bench.records.entries import CONTROL, MAX_MESSAGE, MAX_TRACEBACK, MAX_WORDS
from bench.records.schema import Failure, Outcome, Record, Settings
from bench.utils.errors import UserError, first_line

record_adapter, _outcome_adapter = TypeAdapter(Record), TypeAdapter(Outcome)


def record_to_json(record: Record) -> bytes:
    """Return the record's file.

    A message or a name of a device may hold any text: that of a child process, say. It is made
    plain, for a computed cell is not to be lost over it.
    """
    settings = record.settings
    whole = {**asdict(record), "settings": settings.to_json(), "cell": settings.digest()}
    if not record.evidence:
        del whole["evidence"]
    for name in ("stored_bytes", "shifts"):  # which early records lack
        if record.outcome and getattr(record.outcome, name) in (None, {}):
            del whole["outcome"][name]
    whole["environment"] = _plain_values(record.environment)
    whole["remark"] = _plain_text(record.remark)[:MAX_MESSAGE]
    if failure := whole["failure"]:
        failure["error"] = _plain_line(failure["error"])
        failure["message"] = _plain_text(failure["message"])[:MAX_MESSAGE]
        failure["traceback"] = _plain_text(failure["traceback"])[-MAX_TRACEBACK:]
    return json.dumps(whole, indent=1, sort_keys=True).encode() + b"\n"


def require_recordable(settings: Settings, request: dict[str, Any], group: str) -> None:
    """Raise `UserError` for a cell whose record could not be read back, before it is computed."""
    failure = Failure("unsupported", "", "")
    record = Record(settings, group, None, failure, request=request, cell=settings.digest())
    try:
        parsing.validate_json(record_adapter, record_to_json(record))
    except ValueError as error:
        raise UserError(f"no record could hold this cell: {first_line(error)}") from None


def require_readable(outcome: Outcome) -> None:
    """Raise `ValueError` for an outcome that no record could hold: it is no measurement."""
    parsing.validate_json(_outcome_adapter, json.dumps(asdict(outcome)).encode())


def lease_to_json(info: Mapping[str, Any]) -> bytes:
    """Return the file of a lease."""
    return json.dumps(_plain_values(info)).encode()


def _plain_values(table: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain_value(value) for name, value in table.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain_value(one) for one in value]
    return _plain_line(value) if isinstance(value, str) else value


def _plain_line(text: str) -> str:
    """Return one line, with control characters as escapes."""
    return CONTROL.sub(lambda found: ascii(found[0])[1:-1], _plain_text(text))[:MAX_WORDS]


def _plain_text(text: str) -> str:
    """Return text that is valid UTF-8 without zeros: of a file's name, half characters may be."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\x00", "\\x00")
