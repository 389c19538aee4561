"""Check records and tables, your own or those of others."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from bench.cli import options
from bench.cli.common import FAILED, print_error, print_refused, print_result, require_results
from bench.cli.parsing import Parser
from bench.records import measurements, store
from bench.report import generate, known_labels, verdicts
from bench.utils.errors import UserError

EXAMPLES = (
    "verify",
    "verify THEIRS",
    "verify --results results_gpu",
)


def add_options(parser: Parser) -> None:
    options.add_results(parser)
    options.add_data_root(parser)
    parser.add_argument(
        "paths",
        type=Path,
        nargs="*",
        metavar="PATH",
        help="records of others: files or folders (default: those in --results)",
    )


def run(args: argparse.Namespace) -> int:
    if args.paths:
        return _verify_others(args.paths, args.data_root, store.Store(args.results))
    require_results(args.results)
    return _verify_own(store.Store(args.results), args.data_root)


def _verify_own(own: "store.Store", data_root: Path) -> int:
    """Print the problems of records and tables, and the number of recomputed records."""
    found = store.read_folder(own)
    labels = known_labels.KnownLabels(data_root)
    evidence = verdicts.check_own_records(found.records, own, labels)
    unsound = [*found.problems, *evidence.problems]
    stale = [
        f"{path} is not what the records give; run `python -m bench report`"
        for path in generate.stale_files(own.root)
    ]
    unreadable = measurements.unreadable_measurements(own.root)
    for problem in [*unsound, *unreadable, *stale]:
        print_error(problem, FAILED)
    records = len(found.records) + len(found.stated) + len(found.problems)
    left = len(found.records) - evidence.recomputed - len(evidence.problems)
    proofs = f"{evidence.recomputed} recomputed from their predictions, {left} of own runs alone"
    print_result(
        [
            f"{records} records, {len(unsound)} unsound; {len(stale)} tables out of date",
            f"{proofs}, {len(found.stated)} stated by others, which do not rank",
            *([f"measurements: {len(unreadable)} unreadable"] if unreadable else ()),
        ]
    )
    return FAILED if unsound or unreadable or stale else 0


def _verify_others(paths: Sequence[Path], data_root: Path, own: "store.Store") -> int:
    """Print how many of others' records are recomputed, only stated, and refused, and why."""
    labels = known_labels.labels_at_hand(paths, data_root, own)
    found = verdicts.check_records(paths, labels)
    if not found:
        raise UserError(f"no record below {shlex.join(map(str, paths))}")
    recomputed, stated = (sum(v.recomputed for v in found), [v for v in found if v.stated])
    refused = len(found) - recomputed - len(stated)
    counts = f"{recomputed} recomputed, {len(stated)} stated, {refused} refused"
    reasons = [f"stated: {one.path}: {one.doubt}" for one in stated]
    print_result([f"{len(found)} records: {counts}", *reasons])
    return print_refused([problem for one in found for problem in one.problems])
