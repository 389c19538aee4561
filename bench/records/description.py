"""Cells and their outcomes in words, for progress lines and lists."""

from typing import Any, Protocol

from bench.records import trials
from bench.records.schema import PROMPTS_FROM, Record, Settings


class Describable(Protocol):
    """A cell or its record."""

    @property
    def settings(self) -> Settings: ...

    @property
    def request(self) -> dict[str, Any]: ...


def describe_cell(one: Describable) -> str:
    """Describe a cell in words; a trial by its grid point."""
    s = one.settings
    source = s.fields.get(PROMPTS_FROM)
    prompts = f" with prompts from {source}" if source else ""
    where = f"{s.method}{prompts} on {s.backbone}, {s.task}"
    if not trials.is_trial(s):
        return f"{where}, seed {s.seed}"
    at = one.request["at"]
    return f"trial of {where}, {trials.format_point(at['point'])}, epochs {at['epochs']}"


def describe_outcome(record: Record) -> str:
    """Describe how a cell ended."""
    if record.outcome is not None:
        found = record.outcome
        return f"{found.accuracy:.2f} % in {found.train_seconds + found.test_seconds:.1f} s"
    assert record.failure is not None
    if record.failure.kind == "unsupported":
        return f"n/a: {record.failure.message}"
    return f"failed: {record.failure.error}: {record.failure.message}"
