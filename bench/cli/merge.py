"""Merge the records of others into a results folder."""

import argparse
import shlex
from pathlib import Path

from bench.cli import options
from bench.cli.common import FAILED, print_error, print_refused, print_result, write_tables
from bench.cli.parsing import Parser
from bench.records import store
from bench.report import known_labels, merging, verdicts
from bench.utils.errors import UserError

EXAMPLES = (
    "merge THEIRS",
    "merge THEIRS --accept-stated --results results",
)


def add_options(parser: Parser) -> None:
    options.add_results(parser)
    options.add_data_root(parser)
    parser.add_argument(
        "--accept-stated",
        action="store_true",
        help="also take records that cannot be recomputed: they are listed, and never ranked",
    )
    parser.add_argument(
        "paths", type=Path, nargs="+", metavar="PATH", help="results folders or records of others"
    )


def run(args: argparse.Namespace) -> int:
    own = store.Store(args.results)
    labels = known_labels.labels_at_hand(args.paths, args.data_root, own)
    found = verdicts.check_records(args.paths, labels)
    if not found:
        raise UserError(f"no record below {shlex.join(map(str, args.paths))}")
    own.require_writable()
    own.require_current_schema()
    try:
        merged = merging.merge_records(found, own, labels, args.accept_stated)
    except OSError as error:  # a full disk, say
        if args.debug:
            raise
        return print_error(f"{error}; nothing was merged", FAILED)
    write_tables(args.results)
    print_result(merged)
    stated = [] if args.accept_stated else [one for one in found if one.stated]
    for one in stated:
        print_error(f"left out: {one.path} is only stated: {one.doubt}", FAILED)
    status = print_refused([problem for one in found for problem in one.problems])
    if stated:
        print_error(f"{len(stated)} left out; --accept-stated brings them in, unranked", FAILED)
    return FAILED if stated else status
