"""Convert records of an earlier version; their numbers stay as they are."""

import argparse

from bench.cli import options
from bench.cli.common import print_lines, print_refused
from bench.cli.parsing import Parser
from bench.execution import migration
from bench.utils.errors import UserError

EXAMPLES = (
    "migrate",
    "migrate --results results_old",
)


def add_options(parser: Parser) -> None:
    options.add_results(parser)
    options.add_plugins(parser)


def run(args: argparse.Namespace) -> int:
    if not args.results.is_dir():  # of whatever version
        raise UserError(f"no results folder at {args.results}; name another with --results")
    problems: list[str] = []
    print_lines(migration.migrate(args.results, problems))
    return print_refused(problems)
