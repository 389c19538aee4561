"""The commands that read records and write text; none of them needs torch.

Each gives the lines to be shown as it goes.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from bench.config import backbone
from bench.config.recipe import load_recipe
from bench.papers import claims, layouts
from bench.papers.claims import Claim
from bench.records import trials
from bench.records.schema import Trial, TuningResult
from bench.records.store import Store, read_valid
from bench.report import generate, paper_tables, paper_values, record_checks, record_diff
from bench.report.frame import record_frame
from bench.report.leaderboard import build_boards
from bench.report.paper_values import ClaimCheck
from bench.report.record_diff import rerun_command
from bench.utils.errors import UserError, unknown_name
from bench.utils.files import write_atomically

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
            layouts.load_stand_ins(self.suite)
        if self.suite and self.against:
            raise UserError(
                f"the suite {self.suite!r} stands in for the paper's data: its numbers cannot be "
                "set against the paper's claims; leave out --suite or --against"
            )
        if self.recipe:
            load_recipe(self.recipe)


def chosen(names: Sequence[str]) -> list[str]:
    """The papers named; raises `UserError` for an unknown one."""
    known = claims.paper_names()
    for name in names:
        if name not in (*known, ALL):
            raise unknown_name("paper", name, [*known, ALL])
    return known if ALL in names or not names else list(dict.fromkeys(names))


def claims_of(names: Sequence[str]) -> list[Claim]:
    """Every claim of the papers named."""
    return [claim for name in chosen(names) for claim in claims.load_claims(name)]


def tables(results: Path, wanted: Papers) -> Iterator[str]:
    """Write the papers' tables."""
    frame = record_frame(read_valid(Store(results))[0])
    for name in chosen(wanted.names):
        made = paper_tables.render_tables(name, frame, wanted.suite, wanted.recipe, wanted.against)
        if not made:
            yield f"no table of {name} has a stand-in in suite {wanted.suite}"
        for path, content in paper_tables.output_files(made, results):
            write_atomically(path, content)
            yield str(path)


def judge(results: Path, names: Sequence[str], recipe: str | None) -> Iterator[str]:
    """Write the claims page, and show the page of each paper that has one."""
    records, _ = read_valid(Store(results))
    found = paper_values.check_papers(record_frame(records), chosen(names), recipe)
    is_first = not (results / generate.CLAIMS_FILE).is_file()
    for name, content in paper_tables.claims_files(found).items():
        write_atomically(results / name, content.encode())
    if is_first:
        generate.refresh_page(results)
    yield paper_tables.summary_table(found)
    yield from _counted(found)
    yield str(results / "claims.md")


def _counted(found: Sequence[ClaimCheck]) -> Iterator[str]:
    for paper in dict.fromkeys(verdict.claim.paper for verdict in found):
        of_paper = [verdict for verdict in found if verdict.claim.paper == paper]
        yield f"{paper}: {len(of_paper)} claims: {paper_tables.count_statuses(of_paper)}"


def show(store: Store, name: str) -> Iterator[str]:
    """A cell's record, and the command that runs it again."""
    record = record_diff.find_record(store, name)
    path = Path(name) if Path(name).is_file() else store.path(record.settings)
    yield path.read_text().rstrip()
    if record.tuned:
        yield from _trials(record.tuned)
    s = record.settings
    how = backbone.describe_input(s.input, s.recipe.get("normalisation", "backbone"))
    yield f"\nrecord: {path}"
    yield f"input:  {s.backbone}: {how}"
    yield (
        f"again:  {rerun_command(record)}"
        if record.request
        else "it does not say how it was asked for"
    )


def _trials(tuned: TuningResult) -> Iterator[str]:
    """The trials that chose a record's rates: a line each."""
    lines = [
        [
            trial.cell,
            trials.format_point(trial.point),
            trial.epochs,
            _said(trial),
            f"{trial.seconds:.1f}",
        ]
        for trial in tuned.trials
    ]
    heads = ["trial", "point", "epochs", "accuracy on val", "seconds"]
    yield f"\n{len(lines)} trials with seed {tuned.seed} in {tuned.seconds:.1f} s:"
    yield tabulate(lines, heads, "simple")


def _said(trial: Trial) -> str:
    return "none" if trial.accuracy is None else f"{trial.accuracy:.2f}"


def diff(store: Store, first: str, second: str) -> Iterator[str]:
    """What tells two cells apart."""
    one, other = record_diff.find_record(store, first), record_diff.find_record(store, second)
    for record in (one, other):
        ended = f"{record.outcome.accuracy:.2f} %" if record.outcome else "no result"
        yield f"{record.cell}  {record.settings.method} on {record.settings.task}: {ended}"
    found = record_diff.record_differences(one, other)
    yield tabulate(found, ["", one.cell, other.cell], "simple") if found else "nothing differs"
    said = record_diff.mcnemar_sentence(one, other, store)
    if said:
        yield said


def export(results: Path, kind: str, out: Path | None) -> Iterator[str]:
    """Write the results in another program's format."""
    if kind not in generate.EXPORT_FORMATS:
        raise unknown_name("format", kind, generate.EXPORT_FORMATS)
    ending, write = generate.EXPORT_FORMATS[kind]
    records, _ = read_valid(Store(results))
    if not records:
        raise UserError(f"no record in {results} to export")
    path = out or results / f"results.{ending}"
    boards = build_boards(record_frame(records), generate.load_suites(records))
    write_atomically(path, write(records, boards))
    yield f"{path}: {len(records)} records"


def bring_in(others: Sequence[Path], store: Store) -> tuple[list[str], list[str]]:
    """Merge others' records into the store: what became of them, and why some were refused."""
    found = record_checks.check_records(others)
    said = [f"{what}: {one.path}" for what, one in record_checks.merge_records(found, store)]
    return said, [problem for one in found for problem in one.problems]


def judge_others(paths: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Check others' records: a line for those that are accepted, and why others are refused."""
    found = record_checks.check_records(paths)
    if not found:
        raise UserError(f"no record below {shlex.join(map(str, paths))}")
    refused = [one for one in found if one.problems]
    said = f"{len(found) - len(refused)} records accepted, {len(refused)} refused"
    return [said], [problem for one in found for problem in one.problems]
