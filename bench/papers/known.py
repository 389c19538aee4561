"""Published results on VTAB-1k and FGVC, read from ``bench/papers/known_results.csv``.

Unlike claims, which the project sets out to verify, these rows are for comparison. Each row states
how it was read and how its protocol differs from others. Unknown entries are empty.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from bench.papers.claims import NUMBER, PAPERS_FOLDER, read_table
from bench.utils.errors import UserError, unknown_name
from bench.utils.names import shorten

SEED_COUNT = re.compile("[1-9][0-9]{0,3}")
KNOWN_FILE = PAPERS_FOLDER / "known_results.csv"
OWN_RUN = "own"  # who ran a row that the paper's authors ran
READ = {
    "paper": "in the paper's own table",
    "abstract": "in the paper's abstract",
    "readme": "in the README of the paper's code",
    "repository": "in files of the paper's code",
    "quoted": "in the table of another paper or benchmark",
    "thread": "in an issue of the paper's code",
    "note": "in a third party's note of the paper",
}
SELECTIONS = ("last", "best on test", "validation")  # of the epoch that is reported
LAST, BEST_ON_TEST, _ = SELECTIONS
NORMALISATIONS = ("imagenet", "inception", "none")
HEAD_RULES = ("with", "without")  # whether the parameters include the head's
GROUPS = {"natural": 7, "specialized": 4, "structured": 8}  # of VTAB-1k, and their tasks
MEANS = ("over_groups", "over_tasks", "unstated")
COMPUTED = {"over_groups": "groups", "over_tasks": "tasks"}
CSV_COLUMNS = (
    *("suite", "method", "registered", "paper", "table", "backbone", "checkpoint"),
    *("normalisation", "selection", "tuned", "tuned_on", "seeds", "ran_by", *GROUPS, *MEANS),
    *("computed", "params", "head", "read", "read_in", "flag", "remark"),
)
REQUIRED = ("suite", "method", "paper", "backbone")
WORDS: dict[str, Collection[str]] = {  # the columns with a vocabulary, which may be empty
    "suite": ("vtab1k", "fgvc"),
    "normalisation": NORMALISATIONS,
    "selection": SELECTIONS,
    "tuned_on": ("validation", "test"),
    "head": HEAD_RULES,
    "read": READ,
}
SAME_ROW = ("suite", "method", "paper", "backbone", "checkpoint", "selection", "read", "read_in")


@dataclass(frozen=True)
class KnownResult:
    """One row of a paper's table; a text is empty where the notes do not say."""

    suite: str
    method: str  # as the paper names it
    registered: str  # the method here that it is
    paper: str
    table: str
    backbone: str  # timm's name, and the tag of the weights
    checkpoint: str
    normalisation: str
    selection: str
    tuned: str  # what was chosen for each task, with semicolons between
    tuned_on: str
    seeds: int | None
    ran_by: str  # OWN_RUN, or who
    groups: dict[str, Decimal]  # of `GROUPS`, as printed
    means: dict[str, Decimal]  # of `MEANS`, as printed or `computed`
    computed: tuple[str, ...]  # the means that the source does not print
    params: str  # in millions, as printed
    head: str
    read: str
    read_in: str  # where, if not the paper's own
    flag: str  # how what is printed elsewhere contradicts it
    remark: str

    def mean(self, kind: str) -> Decimal | None:
        """Return a mean; if it is not printed, compute it from the groups when all are known."""
        return self.means.get(kind, self.from_groups(kind))

    def from_groups(self, kind: str) -> Decimal | None:
        """Return a mean from the printed groups, to their digits; None without all three."""
        if kind not in COMPUTED or len(self.groups) < len(GROUPS):
            return None
        weights = GROUPS if kind == "over_tasks" else dict.fromkeys(GROUPS, 1)
        total = sum((self.groups[group] * weights[group] for group in GROUPS), Decimal(0))
        return (total / sum(weights.values())).quantize(max(self.groups.values(), key=_digits))

    def is_computed(self, kind: str) -> bool:
        """Return whether the source does not print this mean."""
        return COMPUTED.get(kind) in self.computed or kind not in self.means


def load_known() -> list[KnownResult]:
    """Return the known results, in the order of the file."""
    return read_known(KNOWN_FILE)


def read_known(path: Path) -> list[KnownResult]:
    """Return the results in the file at `path`.

    Raises `UserError` with the line for one that cannot be used.
    """
    return list(_parse_lines(path))


def _parse_lines(path: Path) -> Iterator[KnownResult]:
    before: set[tuple[str, ...]] = set()
    for line, where in read_table(path, CSV_COLUMNS, "known results"):
        _require_words(line, where)
        row = tuple(line[name] for name in SAME_ROW)
        if row in before:
            raise UserError(f"{where} is a second row of {line['method']} from {line['paper']}")
        before.add(row)
        yield _parse_line(line, where)


def _parse_line(line: dict[str, str], where: str) -> KnownResult:
    groups, means = _percents(line, GROUPS, where), _percents(line, MEANS, where)
    if not means and len(groups) < len(GROUPS):
        raise UserError(f"{where} has no mean, nor all the groups that give one")
    if line["params"] and not NUMBER.fullmatch(line["params"]):
        raise UserError(f"{where}: params {shorten(line['params'])} is not a number of millions")
    parsed = {*GROUPS, *MEANS, "computed", "seeds"}
    return KnownResult(
        **{name: text for name, text in line.items() if name not in parsed},
        seeds=_seeds(line["seeds"], where),
        groups=groups,
        means=means,
        computed=_computed(line["computed"], means, where),
    )


def _require_words(line: dict[str, str], where: str) -> None:
    for name in REQUIRED:
        if not line[name]:
            raise UserError(f"{where} has no {name}")
    for name, known in WORDS.items():
        if line[name] and line[name] not in known:
            raise UserError(f"{where}: {unknown_name(name, line[name], known)}")
    if (line["read"] == "quoted") != bool(line["read_in"]):
        raise UserError(f"{where} should say where it was read if it is quoted, and only then")


def _percents(line: dict[str, str], names: Collection[str], where: str) -> dict[str, Decimal]:
    found = {name: line[name] for name in names if line[name]}
    for name, text in found.items():
        if not NUMBER.fullmatch(text) or not 0 <= Decimal(text) <= 100:
            raise UserError(f"{where}: {name} {shorten(text)} is no number from 0 to 100")
    return {name: Decimal(text) for name, text in found.items()}


def _seeds(text: str, where: str) -> int | None:
    if text and not SEED_COUNT.fullmatch(text):
        raise UserError(f"{where}: {shorten(text)} is no number of seeds")
    return int(text) if text else None


def _computed(text: str, means: Collection[str], where: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(";") if part.strip())
    possible = {short for kind, short in COMPUTED.items() if kind in means}
    if not possible.issuperset(names):
        raise UserError(f"{where}: computed {shorten(text)} names a mean that the row lacks")
    return names


def _digits(number: Decimal) -> int:
    """Return how many decimals a printed number has."""
    return -int(number.as_tuple().exponent)
