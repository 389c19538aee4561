"""Compare the claims of papers with the measured results."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import methods
from bench.cli import options
from bench.cli.common import print_lines, require_results
from bench.cli.parsing import Parser
from bench.cli.report import select_papers
from bench.config import recipe
from bench.papers import claims
from bench.records import store
from bench.report import frame, generate, paper_tables, paper_values
from bench.utils import files

EXAMPLES = (
    "claims",
    "claims --paper spt2024",
    "claims --recipe unified --results results_gpu",
)


def add_options(parser: Parser) -> None:
    options.add_results(parser)
    add = parser.add_argument
    options.add_papers(parser, "check only the claims of these papers (default: all)")
    add("--recipe", help="check against records of this recipe (default: each paper's own)")
    options.add_plugins(parser)


def run(args: argparse.Namespace) -> int:
    require_results(args.results)
    papers = select_papers(args.papers)
    if args.recipe:
        recipe.load_recipe(args.recipe)
    every = [claim for paper in papers for claim in claims.load_claims(paper)]
    claims.require_methods(every, methods.names())
    return print_lines(_check_lines(args.results, papers, args.recipe))


def _check_lines(results: Path, papers: Sequence[str], recipe_name: str | None) -> Iterator[str]:
    """Write the claims page; its summary, and the counts of each paper."""
    records, _ = store.read_valid(store.Store(results))
    checks = paper_values.check_papers(frame.record_frame(records), papers, recipe_name)
    is_first = not (results / generate.CLAIMS_FILE).is_file()
    texts = paper_tables.claims_files(checks)
    files.write_files(results, {name: text.encode() for name, text in texts.items()})
    if is_first:  # the HTML page shows the claims from now on
        generate.refresh_page(results)
    yield from paper_tables.summary_table(checks).split("\n")
    for paper in dict.fromkeys(check.claim.paper for check in checks):
        own = [check for check in checks if check.claim.paper == paper]
        yield f"{paper}: {len(own)} claims: {paper_tables.count_statuses(own)}"
    yield str(results / generate.CLAIMS_FILE)
