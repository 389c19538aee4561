"""``python -m bench``: the commands by name, and what becomes of an error."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

from bench.cli import data, run, tune
from bench.cli.commands import (
    BAD_INPUT,
    FAILED,
    INTERRUPTED,
    check_method,
    claims,
    cost,
    diff,
    export,
    listed,
    merge,
    migrate,
    parameters,
    performance,
    pretrain,
    print_error,
    report,
    show,
    verify,
)
from bench.cli.options import (
    Parser,
    checking,
    checking_data,
    claiming,
    costing,
    executing,
    exporting,
    halving,
    importing,
    listing,
    measuring,
    merging,
    naming,
    pairing,
    papering,
    plugging,
    preparing,
    pretraining,
    running,
    selecting,
    sharing,
    storing,
    studying,
    surveying,
    tuning,
    watching,
)
from bench.utils.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status."""
    args = _parser().parse_args(argv)
    try:
        _end_as_interrupted()
        _plug_in(getattr(args, "plugins", []))
        return args.act(args)
    except KeyboardInterrupt as error:
        said = ("interrupted; every finished cell is kept", str(error))
        return print_error("; ".join(filter(None, said)), INTERRUPTED)
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (UserError, OSError) as error:
        if args.debug:
            raise
        if isinstance(error, UserError):
            return print_error(str(error), BAD_INPUT)
        return print_error(f"{error}; every finished cell is kept", FAILED)  # a full disk, say


def _end_as_interrupted() -> None:
    """Let a polite end, which batch systems ask for before they kill, be cleaned up after."""
    if current_thread() is main_thread():  # no other may say what a signal does
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _plug_in(files: Sequence[Path]) -> None:
    """Load the user's methods; one that cannot be loaded is named, and the rest goes on."""
    if files:
        from bench.execution import selection

        for problem in selection.load_plugins(files):
            print(f"bench: {problem}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m bench", description="Compare PEFT methods for Vision Transformers."
    )
    top = parser.add_subparsers(required=True, metavar="COMMAND")
    groups = {name: _group(top, name, sentence) for name, sentence in GROUPS.items()}
    for name, (sentence, act, options) in COMMANDS.items():
        group, _, word = name.rpartition(" ")
        commands = groups.get(group, top)
        command = commands.add_parser(word, help=sentence, description=sentence)
        for option in options:
            option(command)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        command.set_defaults(act=act)
    return parser


def _group(commands: Any, name: str, sentence: str) -> Any:
    """Where the commands that share a first word are added."""
    group = commands.add_parser(name, help=sentence, description=sentence)
    return group.add_subparsers(required=True, metavar="COMMAND")


GROUPS = {"data": "prepare data from their sources, bring in copies, check them"}
COMMANDS: dict[str, tuple[str, Callable[..., int], list[Callable[..., None]]]] = {
    "run": (
        "run cells and regenerate the leaderboard",
        run.run,
        [
            selecting,
            studying,
            storing,
            tuning,
            running,
            executing,
            plugging,
        ],
    ),
    "worker": (
        "run the cells that standard input names, a line each; `run` starts these",
        run.worker,
        [storing, plugging],
    ),
    "list": ("list what there is by name", listed, [listing, plugging]),
    "status": (
        "count the cells done, running, failed and left; what runs, and where",
        run.status,
        [
            selecting,
            studying,
            storing,
            tuning,
            watching,
            plugging,
        ],
    ),
    "report": (
        "regenerate the tables from the records; with --paper, a paper's own",
        report,
        [storing, papering],
    ),
    "claims": (
        "set the papers' claims beside what was measured",
        claims,
        [storing, claiming, plugging],
    ),
    "show": (
        "print a cell's record and the command that runs it again",
        show,
        [storing, naming],
    ),
    "diff": (
        "say which settings and versions differ between two cells",
        diff,
        [storing, pairing],
    ),
    "verify": (
        "check the records, and the tables against them; or others' records",
        verify,
        [storing, sharing],
    ),
    "migrate": (
        "bring records of an earlier version over, with their numbers",
        migrate,
        [storing, plugging],
    ),
    "merge": (
        "bring others' records in",
        merge,
        [storing, merging],
    ),
    "tune": (
        "the trials of `run --tune` alone, and a table of them",
        tune.tune,
        [
            selecting,
            storing,
            halving,
            running,
            executing,
            plugging,
        ],
    ),
    "export": (
        "write what a cell trains, a plain model with it folded in, or all results",
        export,
        [storing, exporting, plugging],
    ),
    "cost": (
        "measure what methods cost on the same work",
        cost,
        [storing, costing, plugging],
    ),
    "performance": (
        "measure what is meant to be fast, in pairs that take turns",
        performance,
        [storing, measuring],
    ),
    "parameters": (
        "write the ledger of trainable parameters",
        parameters,
        [storing, plugging],
    ),
    "data status": (
        "say which tasks are prepared, and what is to be done for the others",
        data.status,
        [surveying],
    ),
    "data prepare": (
        "fetch tasks' sources and prepare them",
        data.prepare,
        [preparing],
    ),
    "data import": (
        "prepare tasks from a copy in a layout that the field shares",
        data.bring_in,
        [importing],
    ),
    "data check": (
        "hold prepared data to what is known of them",
        data.check,
        [checking_data],
    ),
    "check-method": (
        "hold a method to the contract, on a small model",
        check_method,
        [checking, plugging],
    ),
    "pretrain": (
        "pretrain a small backbone on a folder of images",
        pretrain,
        [pretraining],
    ),
}
