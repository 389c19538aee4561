"""The numbers that papers print, read from ``bench/papers/*/claims.csv``."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from bench.config.suite import Suite, Task, load_suite
from bench.utils import files, toml
from bench.utils.errors import UserError, unknown_name
from bench.utils.files import REPO_ROOT
from bench.utils.names import shorten
from bench.utils.text import NotText, decode_utf8

PAPERS_FOLDER = REPO_ROOT / "bench" / "papers"
CLAIMS_PAGE = "page"  # as a table: the paper's own page of claims
OWN_RUN = "own"  # the provenance of a row that the paper ran itself
UNIT_FACTORS = {
    "%": Decimal(1),
    "M": Decimal(1),
    "x": Decimal(1),
    "s": Decimal(1),
    "d": Decimal(86400),
}
NUMBER = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?")  # as papers print them
MAX_BYTES = 2**24  # of a file of claims
METRICS = ("accuracy", "params", "total_params", "init_seconds")
MEAN_OVER_TASKS, MEAN_OVER_GROUPS, ALL_TASKS = "mean over tasks", "mean over groups", "all tasks"
CSV_COLUMNS = (
    *("table", "label", "method", "fields", "backbone", "suite", "on", "metric", "value", "unit"),
    *("provenance", "gain"),
)


@dataclass(frozen=True)
class PaperEntry:
    """One cell of a paper's table: the method, fields, backbone, tasks and metric of a number.

    Its names are resolved once, on first use; those of a claim when it is loaded.
    """

    method: str
    fields: str  # canonical: the fields fixed beyond the method's name
    backbone: str
    suite: str  # of several, with a plus between them
    on: str  # a task, a group, or one of the means
    metric: str

    @cached_property
    def fixed_fields(self) -> dict[str, Any]:
        """The fields by name; raises `ValueError` for text that is not canonical."""
        return parse_fields(self.fields)

    @cached_property
    def tasks(self) -> dict[str, list[Task]]:
        """The tasks by suite; raises `UserError` for an unknown suite or task."""
        suites = map(cached_suite, self.suite.split("+"))
        return {suite.name: resolve_tasks(suite, self.on) for suite in suites}


@dataclass(frozen=True)
class Claim:
    """One printed number."""

    paper: str
    table: str
    label: str  # of the row
    entry: PaperEntry
    value: str  # as printed
    unit: str
    provenance: str  # OWN, or the paper that it was taken from
    gain: str  # the difference printed with it, with its sign

    @property
    def number(self) -> float:
        """In percent, millions, times or seconds."""
        return float(Decimal(self.value) * UNIT_FACTORS[self.unit])

    @property
    def last_digit(self) -> float:
        """One step of the last printed digit."""
        _, _, exponent = Decimal(self.value).as_tuple()
        return float(Decimal(10) ** int(exponent) * UNIT_FACTORS[self.unit])


def paper_names() -> list[str]:
    """Return the papers that have a folder."""
    return sorted(path.parent.name for path in PAPERS_FOLDER.glob("*/layouts.toml"))


def load_claims(paper: str) -> list[Claim]:
    """Return the claims of a paper, in the order of its file.

    Raises `UserError` for an unknown paper, and with the line for one that cannot be used.
    """
    if paper not in paper_names():
        raise unknown_name("paper", paper, paper_names())
    return read_claims(paper, PAPERS_FOLDER / paper / "claims.csv")


def read_claims(paper: str, path: Path) -> list[Claim]:
    """Return the claims in the file at `path`."""
    return [_parse_claim(paper, *found) for found in read_table(path, CSV_COLUMNS, "claims")]


def read_table(
    path: Path, columns: Sequence[str], subject: str
) -> Iterator[tuple[dict[str, str], str]]:
    """Yield each line of a file of printed numbers, with its location.

    Raises `UserError` for a file that cannot be read or has other columns.
    """
    try:
        content = decode_utf8(files.read_regular_file(path, MAX_BYTES, follow_links=True))
        lines = csv.DictReader(io.StringIO(content, newline=""), strict=True)
        if tuple(lines.fieldnames or ()) != tuple(columns):
            raise UserError(f"{path} should begin with the line {','.join(columns)}")
        for line in lines:
            where = f"{path}, line {lines.line_num}"
            if None in line or None in line.values():
                raise UserError(f"{where} should have {len(columns)} columns")
            yield line, where
    except (OSError, NotText, csv.Error) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"the {subject} {path} cannot be read: {why}") from None


def require_methods(claims: Iterable[Claim], known: Iterable[str]) -> None:
    """Raise `UserError` for a claim of a method that is not registered."""
    names = set(known)
    for claim in claims:
        if claim.entry.method not in names:
            error = unknown_name("method", claim.entry.method, names)
            raise UserError(f"the claims of {claim.paper}, {claim.table}, {claim.label}: {error}")


def canonical_fields(fields: Mapping[str, Any]) -> str:
    """Return fields in one canonical line, which `parse_fields` reads: ``share=0.1``."""
    return "; ".join(f"{name}={_written(fields[name])}" for name in sorted(fields))


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def parse_fields(text: str) -> dict[str, Any]:
    """Return the fields of a line such as ``share=0.1; layers='own'``; raises `ValueError`."""
    parts = [part.strip() for part in text.split(";") if part.strip()]
    return toml.parse("\n".join(parts)) if parts else {}


@cache
def cached_suite(name: str) -> Suite:
    """Return a suite's card, read once however many claims and cells name it."""
    return load_suite(name)


def resolve_tasks(suite: Suite, on: str) -> list[Task]:
    """Return the tasks that `on` names; raises `UserError` where it names none."""
    if on in (MEAN_OVER_TASKS, MEAN_OVER_GROUPS, ALL_TASKS):
        return suite.task
    found = [task for task in suite.task if on in (task.name, task.group)]
    if not found:
        known = [*suite.groups(), *(task.name for task in suite.task), MEAN_OVER_TASKS]
        raise unknown_name(f"task, group or mean of suite {suite.name!r}", on, known)
    return found


def _parse_claim(paper: str, line: dict[str, str], where: str) -> Claim:
    if not NUMBER.fullmatch(line["value"]):
        raise UserError(f"{where}: {shorten(line['value'])} is not a number")
    try:
        fields = canonical_fields(parse_fields(line["fields"]))
    except ValueError:
        raise UserError(
            f"{where}: fields look like share=0.1; {shorten(line['fields'])} does not"
        ) from None
    for name, known in (("unit", UNIT_FACTORS), ("metric", METRICS)):
        if line[name] not in known:
            raise UserError(f"{where}: {unknown_name(name, line[name], known)}")
    place = PaperEntry(
        fields=fields, **{k: line[k] for k in ("method", "backbone", "suite", "on", "metric")}
    )
    try:
        place.tasks  # noqa: B018  looked up here, once, and kept
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    rest = {k: line[k] for k in ("table", "label", "value", "unit", "provenance", "gain")}
    return Claim(paper=paper, entry=place, **rest)
