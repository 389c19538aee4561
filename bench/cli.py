"""``python -m bench``: arguments in, calls out; torch is imported only by what computes."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench import arguments
from bench.errors import UserError, first_line

if TYPE_CHECKING:
    from bench.plan import Plan, Request
    from bench.records import Store

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status."""
    args = _parser().parse_args(argv)
    try:
        _plug_in(getattr(args, "plugins", []))
        return args.act(args)
    except KeyboardInterrupt:
        return _complain("interrupted; every finished cell is kept", INTERRUPTED)
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (UserError, OSError) as error:
        if args.debug:
            raise
        if isinstance(error, UserError):
            return _complain(str(error), BAD_INPUT)
        return _complain(f"{error}; every finished cell is kept", FAILED)  # a full disk, say


def _plug_in(files: Sequence[Path]) -> None:
    """Load the user's methods; one that cannot be loaded is named, and the rest goes on."""
    if files:
        from bench import plugins

        for problem in plugins.load(files):
            print(f"bench: {problem}", file=sys.stderr)


def _complain(sentence: str, status: int) -> int:
    print(f"bench: {sentence}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = arguments.Parser(
        prog="python -m bench", description="Compare PEFT methods for Vision Transformers."
    )
    acts = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (sentence, act, options) in COMMANDS.items():
        command = acts.add_parser(name, help=sentence, description=sentence)
        for option in options:
            option(command)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        command.set_defaults(act=act)
    return parser


def _request(args: argparse.Namespace) -> "Request":
    from bench.plan import Request

    return Request(
        suite=args.suite,
        methods=args.methods,
        backbones=args.backbones,
        tasks=args.tasks,
        seeds=args.seeds,
        recipe=args.recipe,
        changes=dict(args.changes),
        root=args.data_root,
        device=_device(args.device),
    )


def _run(args: argparse.Namespace) -> int:
    from bench import plan
    from bench.records import Store

    store = Store(args.results)
    if not args.dry_run:
        store.require_writable()
    request = _request(args)
    planned = plan.make(request, store)
    if args.dry_run:
        return _print_plan(planned, store)
    try:
        failed = _run_cells(planned, store, request.device, args.force)
    finally:  # an interrupted run leaves tables of what it finished
        _report_tables(args.results)
    print((args.results / "leaderboard.md").read_text())
    if failed:
        return _complain(f"{failed} of {len(planned.cells)} cells have no result", FAILED)
    return 0


def _device(name: str | None) -> str:
    """The name of a device that is there."""
    import torch

    found = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=found).item()
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"no device {found!r} here: {first_line(error)}") from None
    return found


def _run_cells(planned: "Plan", store: "Store", device: str, force: bool) -> int:
    """Run what is left, or everything; how many of the cells that ran failed."""
    import torch
    from rich.console import Console

    from bench import runner
    from bench.console import Display

    cells = planned.cells if force else planned.left()
    console = Console(stderr=True)
    kept = len(planned.cells) - len(cells)
    console.print(f"{len(cells)} cells to run, {kept} done before, on {device}", highlight=False)
    failed = 0
    epochs = max((cell.recipe.epochs for cell in cells), default=1)
    with Display(console, len(cells), epochs).shown() as display:
        for cell in cells:
            display.start(cell.settings)
            record = runner.run(cell, store, torch.device(device), display.epoch)
            display.end(record)
            failed += record.failure is not None and record.failure.kind == "failed"
    return failed


def _print_plan(planned: "Plan", store: "Store") -> int:
    from bench.console import estimate, title

    for cell in planned.cells:
        state = "done" if cell.settings.digest() in planned.done else "to run"
        print(f"{state:7} {title(cell.settings)}")
    left = planned.left()
    rest = estimate(store, planned.suite, len(left))
    print(f"{len(left)} of {len(planned.cells)} cells to run; {rest}")
    return 0


def _status(args: argparse.Namespace) -> int:
    from bench import plan
    from bench.console import estimate
    from bench.records import Store

    store = Store(args.results)
    planned = plan.make(_request(args), store)
    states = {"done": 0, "failed": 0, "not run": 0}
    for cell in planned.cells:
        record = store.find(cell.settings)
        done = cell.settings.digest() in planned.done
        states["done" if done else "failed" if record else "not run"] += 1
    print(", ".join(f"{count} {state}" for state, count in states.items()))
    print(estimate(store, planned.suite, len(planned.left())))
    return 0


def _report(args: argparse.Namespace) -> int:
    _require_folder(args.results)
    for path in _report_tables(args.results):
        print(path)
    return 0


def _require_folder(results: Path) -> None:
    if not results.is_dir():
        raise UserError(f"no results folder at {results}; name another with --results")


def _report_tables(results: Path) -> list[Path]:
    from bench import report

    made = report.regenerate(results)
    for problem in made.problems:
        print(f"bench: skipped: {problem}", file=sys.stderr)
    return made.written


def _verify(args: argparse.Namespace) -> int:
    from bench import report
    from bench.records import Store

    _require_folder(args.results)
    _, found = report.files.sound(Store(args.results))
    stale = [
        f"{path} is not what the records give; run `python -m bench report`"
        for path in report.stale(args.results)
    ]
    for problem in [*found, *stale]:
        print(f"bench: {problem}", file=sys.stderr)
    count = len(Store(args.results).files())
    print(f"{count} records, {len(found)} unsound; {len(stale)} tables out of date")
    return FAILED if found or stale else 0


def _list(args: argparse.Namespace) -> int:
    from bench import listing

    for line in listing.LISTS[args.what](args.suite):
        print(line)
    return 0


def _tune(args: argparse.Namespace) -> int:
    from bench import tools
    from bench.records import Store

    store = Store(args.results)
    store.require_writable()
    return _say(tools.tune(_request(args), store))


def _check_method(args: argparse.Namespace) -> int:
    from bench import tools

    broken = False
    for line in tools.check_method(args.name):
        print(line, flush=True)
        broken |= line.startswith(tools.BROKEN)
    return FAILED if broken else 0


def _export(args: argparse.Namespace) -> int:
    from bench import tools

    device = _device(args.device)
    return _say(tools.export(args.record, args.out, args.merged, args.data_root, device))


def _parameters(args: argparse.Namespace) -> int:
    from bench import tools

    return _say(tools.parameters(args.results))


def _pretrain(args: argparse.Namespace) -> int:
    from bench import tools

    return _say(tools.pretrain(args.objective, args.images, args.out, args.epochs, args.seed))


def _say(lines: Iterable[str]) -> int:
    for line in lines:
        print(line, flush=True)
    return 0


COMMANDS: dict[str, tuple[str, Callable[..., int], list[Callable[..., None]]]] = {
    "run": (
        "run cells and regenerate the leaderboard",
        _run,
        [arguments.selecting, arguments.storing, arguments.running, arguments.plugging],
    ),
    "list": ("list what there is by name", _list, [arguments.listing, arguments.plugging]),
    "status": (
        "count the cells done, failed and not run",
        _status,
        [arguments.selecting, arguments.storing, arguments.plugging],
    ),
    "report": ("regenerate the tables from the records", _report, [arguments.storing]),
    "verify": ("check the records, and the tables against them", _verify, [arguments.storing]),
    "tune": (
        "try the recipe's grid on validation data",
        _tune,
        [arguments.selecting, arguments.storing, arguments.plugging],
    ),
    "export": (
        "write what a cell trains, or a plain model with it folded in",
        _export,
        [arguments.exporting, arguments.plugging],
    ),
    "parameters": (
        "write the ledger of trainable parameters",
        _parameters,
        [arguments.storing, arguments.plugging],
    ),
    "check-method": (
        "hold a method to the contract, on a small model",
        _check_method,
        [arguments.checking, arguments.plugging],
    ),
    "pretrain": (
        "pretrain a small backbone on a folder of images",
        _pretrain,
        [arguments.pretraining],
    ),
}
