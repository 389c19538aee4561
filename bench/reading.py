"""The commands that read records and write text; none of them needs torch.

Each gives the lines to be shown as it goes.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from bench import cards, comparing, inputs, search, sharing
from bench.errors import UserError, unknown
from bench.records import Store, Trial, Tuned, write_atomically
from bench.report import exports, files
from bench.report.leaderboard import build
from bench.report.papers import claims, claims_page, layouts, paper_tables
from bench.report.papers.claims import Claim
from bench.report.papers.verdicts import Verdict
from bench.report.replay import replay

ALL = "all"


@dataclass(frozen=True)
class Papers:
    """Which tables of which papers are wanted, and how."""

    names: Sequence[str]  # of papers, or ALL
    suite: str | None = None  # that stands in for the papers' own
    recipe: str | None = None  # in place of the papers' own
    against: bool = False  # the claims beside the figures

    def require_known(self) -> None:
        """Raise `UserError` for names that are not known, and for what does not go together."""
        chosen(self.names)
        if not self.names and (self.suite or self.recipe or self.against):
            raise UserError("--suite, --recipe and --against say how to fill a table of --paper")
        if self.suite:
            layouts.stand_ins(self.suite)
        if self.suite and self.against:
            raise UserError(
                f"the suite {self.suite!r} stands in for the paper's data: its numbers cannot be "
                "set against the paper's claims; leave out --suite or --against"
            )
        if self.recipe:
            cards.load_recipe(self.recipe)


def chosen(names: Sequence[str]) -> list[str]:
    """The papers named; raises `UserError` for an unknown one."""
    known = claims.papers()
    for name in names:
        if name not in (*known, ALL):
            raise unknown("paper", name, [*known, ALL])
    return known if ALL in names or not names else list(dict.fromkeys(names))


def claims_of(names: Sequence[str]) -> list[Claim]:
    """Every claim of the papers named."""
    return [claim for name in chosen(names) for claim in claims.load(name)]


def tables(results: Path, wanted: Papers) -> Iterator[str]:
    """Write the papers' tables."""
    records, _ = files.sound(Store(results))
    for name in chosen(wanted.names):
        made = paper_tables.write_all(name, records, wanted.suite, wanted.recipe, wanted.against)
        if not made:
            yield f"no table of {name} has a stand-in in suite {wanted.suite}"
        for path, content in paper_tables.written(made, results):
            write_atomically(path, content)
            yield str(path)


def judge(results: Path, names: Sequence[str], recipe: str | None) -> Iterator[str]:
    """Write the claims page, and show the page of each paper that has one."""
    records, _ = files.sound(Store(results))
    found = claims_page.judged(records, chosen(names), recipe)
    for name, content in claims_page.write_all(found).items():
        write_atomically(results / name, content.encode())
    yield claims_page.page(found)
    yield from _counted(found)
    yield str(results / "claims.md")


def _counted(found: Sequence[Verdict]) -> Iterator[str]:
    for paper in dict.fromkeys(verdict.claim.paper for verdict in found):
        of_paper = [verdict for verdict in found if verdict.claim.paper == paper]
        yield f"{paper}: {len(of_paper)} claims: {claims_page.counts(of_paper)}"


def show(store: Store, name: str) -> Iterator[str]:
    """A cell's record, and the command that runs it again."""
    record = comparing.find(store, name)
    path = Path(name) if Path(name).is_file() else store.path(record.settings)
    yield path.read_text().rstrip()
    if record.tuned:
        yield from _trials(record.tuned)
    s = record.settings
    how = inputs.said(s.input, s.recipe.get("normalisation", "backbone"))
    yield f"\nrecord: {path}"
    yield f"input:  {s.backbone}: {how}"
    yield f"again:  {replay(record)}" if record.request else "it does not say how it was asked for"


def _trials(tuned: Tuned) -> Iterator[str]:
    """The trials that chose a record's rates: a line each."""
    lines = [
        [trial.cell, search.said(trial.point), trial.epochs, _said(trial), f"{trial.seconds:.1f}"]
        for trial in tuned.trials
    ]
    heads = ["trial", "point", "epochs", "accuracy on val", "seconds"]
    yield f"\n{len(lines)} trials with seed {tuned.seed} in {tuned.seconds:.1f} s:"
    yield tabulate(lines, heads, "simple")


def _said(trial: Trial) -> str:
    return "none" if trial.accuracy is None else f"{trial.accuracy:.2f}"


def diff(store: Store, first: str, second: str) -> Iterator[str]:
    """What tells two cells apart."""
    one, other = comparing.find(store, first), comparing.find(store, second)
    for record in (one, other):
        ended = f"{record.outcome.accuracy:.2f} %" if record.outcome else "no result"
        yield f"{record.cell}  {record.settings.method} on {record.settings.task}: {ended}"
    found = comparing.differences(one, other)
    yield tabulate(found, ["", one.cell, other.cell], "simple") if found else "nothing differs"
    said = comparing.mcnemar(one, other, store)
    if said:
        yield said


def export(results: Path, kind: str, out: Path | None) -> Iterator[str]:
    """Write the results in another program's format."""
    if kind not in exports.FORMATS:
        raise unknown("format", kind, exports.FORMATS)
    ending, write = exports.FORMATS[kind]
    records, _ = files.sound(Store(results))
    if not records:
        raise UserError(f"no record in {results} to export")
    path = out or results / f"results.{ending}"
    write_atomically(path, write(records, build(records, files.suites(records))))
    yield f"{path}: {len(records)} records"


def bring_in(others: Sequence[Path], store: Store) -> tuple[list[str], list[str]]:
    """Merge others' records into the store: what became of them, and why some were refused."""
    found = sharing.inspect(others)
    said = [f"{what}: {one.path}" for what, one in sharing.merge(found, store)]
    return said, [problem for one in found for problem in one.problems]


def judge_others(paths: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Check others' records: a line for those that are accepted, and why others are refused."""
    found = sharing.inspect(paths)
    if not found:
        raise UserError(f"no record below {shlex.join(map(str, paths))}")
    refused = [one for one in found if one.problems]
    said = f"{len(found) - len(refused)} records accepted, {len(refused)} refused"
    return [said], [problem for one in found for problem in one.problems]
