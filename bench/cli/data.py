"""Prepare, import and check data sets."""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import rich.console

from bench.cli import options, parsing
from bench.cli.common import FAILED, print_error, print_lines
from bench.cli.parsing import Parser
from bench.data import synthetic
from bench.prepare import pipeline, status
from bench.utils import progress_bars
from bench.utils.errors import UserError

EXAMPLES = (
    "data status --suite vtab1k",
    "data prepare --suite vtab1k --tasks svhn,dtd",
    "data import vtab-1k.zip --data-root /data",
)


def add_options(parser: Parser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (sentence, add_own_options, run_own) in SUBCOMMANDS.items():
        command = commands.add_parser(name, help=sentence, description=sentence)
        add_own_options(command)
        options.add_data_root(command)
        options.add_debug(command)
        command.set_defaults(run_own=run_own)


def run(args: argparse.Namespace) -> int:
    if synthetic.is_synthetic(args.data_root):
        raise UserError(
            f"there are no files of {args.data_root} images, which are drawn as they are read: "
            "name a folder with --data-root"
        )
    return int(args.run_own(args))


def _add_status_options(parser: Parser) -> None:
    parser.add_argument(
        "--suite",
        type=parsing.names("suite"),
        default=["vtab1k", "fgvc"],
        dest="suites",
        metavar="A,B",
        help="check these suites: names or cards (default: vtab1k,fgvc)",
    )


def _run_status(args: argparse.Namespace) -> int:
    return print_lines(status.status_lines(args.suites, args.data_root))


def _add_prepare_options(parser: Parser) -> None:
    _add_tasks(parser, "all of the suite")
    parser.add_argument(
        "--accept-license",
        type=parsing.names("source"),
        action="extend",
        default=[],
        metavar="A,B",
        help="accept the terms of these sources, which you have read",
    )
    parser.add_argument(
        "--force", action="store_true", help="prepare again what is already prepared"
    )


def _run_prepare(args: argparse.Namespace) -> int:
    jobs = pipeline.plan_jobs(pipeline.PrepareRequest(args.suite, args.tasks, args.data_root))
    accepted, force = args.accept_license, args.force
    return _print_progress(
        lambda bars, failed: pipeline.prepare_sources(jobs, accepted, force, bars, failed)
    )


def _add_import_options(parser: Parser) -> None:
    parser.add_argument(
        "path",
        type=Path,
        metavar="PATH",
        help="the copy to import: an archive such as vtab-1k.zip, or a folder",
    )
    _add_tasks(parser, "all that the copy holds")
    parser.add_argument(
        "--variant",
        choices=options.VARIANTS,
        help="the variant of its images (default: recognised from the files)",
    )


def _run_import(args: argparse.Namespace) -> int:
    request = pipeline.PrepareRequest(args.suite, args.tasks, args.data_root, args.variant)
    return _print_progress(
        lambda bars, failed: pipeline.import_tasks(args.path, request, bars.on_images, failed)
    )


def _add_check_options(parser: Parser) -> None:
    _add_tasks(parser, "default: all there are")
    parser.add_argument(
        "--deep", action="store_true", help="also hash every byte and decode every image"
    )
    options.add_variant(parser)


def _run_check(args: argparse.Namespace) -> int:
    request = pipeline.PrepareRequest(args.suite, args.tasks, args.data_root, args.variant)
    return _print_progress(lambda _, failed: pipeline.check_tasks(request, args.deep, failed))


def _add_tasks(parser: Parser, default: str) -> None:
    add = parser.add_argument
    add(
        "--suite", default="vtab1k", help="take this suite: a name or a card.toml (default: vtab1k)"
    )
    add(
        "--tasks",
        type=parsing.names("task"),
        default=[],
        metavar="A,B",
        help=f"take only these tasks (default: {default})",
    )


def _print_progress(
    command: "Callable[[progress_bars.TransferProgress, list[str]], Iterable[str]]",
) -> int:
    """Print what a command does as it does it, and complain of what it could not do."""
    failed: list[str] = []
    console = rich.console.Console(stderr=True)
    with progress_bars.TransferProgress(console).live() as bars:
        print_lines(command(bars, failed))
    for problem in failed:
        print_error(problem, FAILED)
    return FAILED if failed else 0


SUBCOMMANDS = {
    "status": (
        "say which tasks are prepared, and what is to be done for the others",
        _add_status_options,
        _run_status,
    ),
    "prepare": ("fetch tasks' sources and prepare them", _add_prepare_options, _run_prepare),
    "import": (
        "prepare tasks from a copy in a layout that the field shares",
        _add_import_options,
        _run_import,
    ),
    "check": ("hold prepared data to what is known of them", _add_check_options, _run_check),
}
