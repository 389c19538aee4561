"""Bring records of an earlier version over, with their numbers."""

import argparse

from bench.cli import common
from bench.cli.common import print_lines, print_refused
from bench.execution import migration
from bench.utils.errors import UserError


def add_options(parser: argparse.ArgumentParser) -> None:
    common.add_results(parser)
    common.add_plugins(parser)


def run(args: argparse.Namespace) -> int:
    if not args.results.is_dir():  # of whatever version
        raise UserError(f"no results folder at {args.results}; name another with --results")
    problems: list[str] = []
    print_lines(migration.migrate(args.results, problems))
    return print_refused(problems)
