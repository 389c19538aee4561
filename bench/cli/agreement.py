"""Write how far methods agree, and err alike, beside two seeds of one method."""

import argparse

from bench.cli import common
from bench.cli.common import FAILED, print_error, print_lines, require_results
from bench.records import store
from bench.report import agreement_page, generate
from bench.utils import files
from bench.utils.errors import UserError


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--methods",
        type=common.names("method"),
        default=[],
        metavar="A,B",
        help="default: those of which two seeds have predictions",
    )
    common.add_results(parser)


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
