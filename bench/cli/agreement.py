"""Compare the predictions of methods with those of two seeds of one method."""

import argparse

from bench.cli import options, parsing
from bench.cli.common import FAILED, print_error, print_lines, require_results
from bench.cli.parsing import Parser
from bench.records import store
from bench.report import agreement_page, generate
from bench.utils import files
from bench.utils.errors import UserError

EXAMPLES = (
    "agreement",
    "agreement --methods lora,vpt_deep --results results",
)


def add_options(parser: Parser) -> None:
    parser.add_argument(
        "--methods",
        type=parsing.names("method"),
        default=[],
        metavar="A,B",
        help="compare these methods (default: those with predictions of two seeds or more)",
    )
    options.add_results(parser)


def run(args: argparse.Namespace) -> int:
    require_results(args.results)
    boards, frame = generate.read_boards(args.results)
    found, problems = agreement_page.collect(
        boards, frame["record"], store.Store(args.results), args.methods
    )
    for problem in problems:
        print_error(f"skipped: {problem}", FAILED)
    if not found:
        raise UserError(
            f"no predictions in {args.results} of {', '.join(args.methods)}"
            if args.methods
            else f"of no method in {args.results} have two seeds predictions; --methods names some"
        )
    contents: files.FileContents = {
        agreement_page.PAGE: agreement_page.render_page(found).encode(),
        agreement_page.CSV: agreement_page.render_csv(found).encode(),
    }
    return print_lines(files.write_files(args.results, contents))
