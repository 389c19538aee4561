"""``python -m bench``: the commands by name, and what becomes of an error."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

from bench import acts, arguments, data_acts, run_acts, tune_acts
from bench.acts import BAD_INPUT, FAILED, INTERRUPTED, complain
from bench.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status."""
    args = _parser().parse_args(argv)
    try:
        _end_as_interrupted()
        _plug_in(getattr(args, "plugins", []))
        return args.act(args)
    except KeyboardInterrupt as error:
        said = ("interrupted; every finished cell is kept", str(error))
        return complain("; ".join(filter(None, said)), INTERRUPTED)
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (UserError, OSError) as error:
        if args.debug:
            raise
        if isinstance(error, UserError):
            return complain(str(error), BAD_INPUT)
        return complain(f"{error}; every finished cell is kept", FAILED)  # a full disk, say


def _end_as_interrupted() -> None:
    """Let a polite end, which batch systems ask for before they kill, be cleaned up after."""
    if current_thread() is main_thread():  # no other may say what a signal does
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _plug_in(files: Sequence[Path]) -> None:
    """Load the user's methods; one that cannot be loaded is named, and the rest goes on."""
    if files:
        from bench import plugins

        for problem in plugins.load(files):
            print(f"bench: {problem}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = arguments.Parser(
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
        run_acts.run,
        [
            arguments.selecting,
            arguments.studying,
            arguments.storing,
            arguments.tuning,
            arguments.running,
            arguments.executing,
            arguments.plugging,
        ],
    ),
    "worker": (
        "run the cells that standard input names, a line each; `run` starts these",
        run_acts.worker,
        [arguments.storing, arguments.plugging],
    ),
    "list": ("list what there is by name", acts.listed, [arguments.listing, arguments.plugging]),
    "status": (
        "count the cells done, running, failed and left; what runs, and where",
        run_acts.status,
        [
            arguments.selecting,
            arguments.studying,
            arguments.storing,
            arguments.tuning,
            arguments.watching,
            arguments.plugging,
        ],
    ),
    "report": (
        "regenerate the tables from the records; with --paper, a paper's own",
        acts.report,
        [arguments.storing, arguments.papering],
    ),
    "claims": (
        "set the papers' claims beside what was measured",
        acts.claims,
        [arguments.storing, arguments.claiming, arguments.plugging],
    ),
    "show": (
        "print a cell's record and the command that runs it again",
        acts.show,
        [arguments.storing, arguments.naming],
    ),
    "diff": (
        "say which settings and versions differ between two cells",
        acts.diff,
        [arguments.storing, arguments.pairing],
    ),
    "verify": (
        "check the records, and the tables against them; or others' records",
        acts.verify,
        [arguments.storing, arguments.sharing],
    ),
    "migrate": (
        "bring records of an earlier version over, with their numbers",
        acts.migrate,
        [arguments.storing, arguments.plugging],
    ),
    "merge": (
        "bring others' records in",
        acts.merge,
        [arguments.storing, arguments.merging],
    ),
    "tune": (
        "the trials of `run --tune` alone, and a table of them",
        tune_acts.tune,
        [
            arguments.selecting,
            arguments.storing,
            arguments.halving,
            arguments.running,
            arguments.executing,
            arguments.plugging,
        ],
    ),
    "export": (
        "write what a cell trains, a plain model with it folded in, or all results",
        acts.export,
        [arguments.storing, arguments.exporting, arguments.plugging],
    ),
    "cost": (
        "measure what methods cost on the same work",
        acts.cost,
        [arguments.storing, arguments.costing, arguments.plugging],
    ),
    "performance": (
        "measure what is meant to be fast, in pairs that take turns",
        acts.performance,
        [arguments.storing, arguments.measuring],
    ),
    "parameters": (
        "write the ledger of trainable parameters",
        acts.parameters,
        [arguments.storing, arguments.plugging],
    ),
    "data status": (
        "say which tasks are prepared, and what is to be done for the others",
        data_acts.status,
        [arguments.surveying],
    ),
    "data prepare": (
        "fetch tasks' sources and prepare them",
        data_acts.prepare,
        [arguments.preparing],
    ),
    "data import": (
        "prepare tasks from a copy in a layout that the field shares",
        data_acts.bring_in,
        [arguments.importing],
    ),
    "data check": (
        "hold prepared data to what is known of them",
        data_acts.check,
        [arguments.checking_data],
    ),
    "check-method": (
        "hold a method to the contract, on a small model",
        acts.check_method,
        [arguments.checking, arguments.plugging],
    ),
    "pretrain": (
        "pretrain a small backbone on a folder of images",
        acts.pretrain,
        [arguments.pretraining],
    ),
}
