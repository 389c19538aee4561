"""Regenerate the tables from the records; with --paper, also the tables of a paper."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.cli import options
from bench.cli.common import print_lines, require_results, write_tables
from bench.cli.parsing import Parser
from bench.config import recipe
from bench.papers import claims, layouts
from bench.records import store
from bench.report import frame, paper_tables
from bench.utils import files
from bench.utils.errors import UserError, unknown_name

ALL = "all"

EXAMPLES = (
    "report",
    "report --paper spt2024 --against",
    "report --paper vpt2022 --suite mini --results results",
)


def add_options(parser: Parser) -> None:
    options.add_results(parser)
    add = parser.add_argument
    options.add_papers(parser, "also write the tables of these papers, or of all")
    add(
        "--suite",
        help="fill them with results on this suite, which stands in for the paper's data: mini",
    )
    add("--against", action="store_true", help="add the published numbers beside the measured ones")
    add("--recipe", help="fill them from records of this recipe (default: the paper's)")


def run(args: argparse.Namespace) -> int:
    require_results(args.results)
    papers = select_papers(args.papers)
    if not args.papers and (args.suite or args.recipe or args.against):
        raise UserError("--suite, --recipe and --against say how to fill a table of --paper")
    _require_fillable(args.suite, args.recipe, args.against)
    print_lines(write_tables(args.results).written)
    if not args.papers:
        return 0
    return print_lines(_paper_lines(args.results, papers, args.suite, args.recipe, args.against))


def select_papers(names: Sequence[str]) -> list[str]:
    """The papers named, or all; raises `UserError` for an unknown one."""
    known = claims.paper_names()
    for name in names:
        if name not in (*known, ALL):
            raise unknown_name("paper", name, [*known, ALL])
    return known if ALL in names or not names else list(dict.fromkeys(names))


def _require_fillable(suite: str | None, recipe_name: str | None, against: bool) -> None:
    """Raise `UserError` for an unknown suite or recipe, and for what does not go together."""
    if suite:
        layouts.load_stand_ins(suite)
    if suite and against:
        raise UserError(
            f"the suite {suite!r} stands in for the paper's data: its numbers cannot be "
            "set against the paper's claims; leave out --suite or --against"
        )
    if recipe_name:
        recipe.load_recipe(recipe_name)


def _paper_lines(
    results: Path, papers: Sequence[str], suite: str | None, recipe_name: str | None, against: bool
) -> Iterator[str]:
    """Write the papers' tables; the files' names."""
    records = frame.record_frame(store.read_valid(store.Store(results))[0])
    for name in papers:
        tables = paper_tables.render_tables(name, records, suite, recipe_name, against)
        if not tables:
            yield f"no table of {name} has a stand-in in suite {suite}"
        yield from map(str, files.write_files(results, paper_tables.output_files(tables)))
