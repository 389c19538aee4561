"""What the commands understand: the options of each, apart from what they do."""

import argparse
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """One that complains in one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"bench: {message}; see {self.prog} --help\n")


def _names(kind: str) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        found = [name.strip() for name in text.split(",") if name.strip()]
        if not found:
            raise argparse.ArgumentTypeError(f"{text!r} names no {kind}")
        return found

    return names


def _seeds(text: str) -> list[int]:
    found = _names("seed")(text)
    for seed in found:
        if not seed.isdecimal() or int(seed) >= 2**32:
            raise argparse.ArgumentTypeError(f"seeds are whole numbers, as in 0,1,2; got {seed!r}")
    return [int(seed) for seed in found]


def _change(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected FIELD=VALUE, got {text!r}")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:  # a bare word
        return name, value


def selecting(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--suite", help="name or card.toml (default: the demo of mini)")
    add("--methods", type=_names("method"), default=[], metavar="A,B", help="default: the suite's")
    add(
        "--backbones",
        type=_names("backbone"),
        default=[],
        metavar="A,B",
        help="names, timm names, card.toml or TIMM_NAME@WEIGHTS (default: the suite's)",
    )
    add("--tasks", type=_names("task"), default=[], metavar="A,B", help="default: the suite's")
    add("--seeds", type=_seeds, default=[], metavar="0,1", help="default: the suite's")
    add("--recipe", help="name or card.toml (default: the suite's)")
    add(
        "--set",
        type=_change,
        action="append",
        default=[],
        dest="changes",
        metavar="FIELD=VALUE",
        help="change a field of the recipe or of the methods that have it; may be repeated",
    )
    _computing(command)


def _computing(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add(
        "--data-root",
        type=Path,
        default=Path(os.environ.get("BENCH_DATA", "data")),
        help="where the tasks' folders lie (default: $BENCH_DATA, or data)",
    )
    add("--device", help="cpu, cuda, cuda:1 ... (default: a GPU where there is one)")


def storing(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--results", type=Path, default=Path("results"), help="of records and tables (results)"
    )


def running(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--dry-run", action="store_true", help="print the cells and stop")
    add("--force", action="store_true", help="run cells that have a record, too")


def listing(command: argparse.ArgumentParser) -> None:
    command.add_argument("what", choices=["methods", "backbones", "suites", "tasks", "recipes"])
    command.add_argument("--suite", help="list the tasks of this suite alone")


def pretraining(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("objective", choices=["mae", "supervised"])
    add("--images", type=Path, required=True, help="a folder with a sub-folder of images a class")
    add("--out", type=Path, required=True, help="the safetensors file to write")
    add("--epochs", type=int, help="default: the objective's")
    add("--seed", type=int, default=0)


def plugging(command: argparse.ArgumentParser) -> None:
    """A user's own methods."""
    command.add_argument(
        "--plugin",
        type=Path,
        action="append",
        default=[],
        dest="plugins",
        metavar="FILE.py",
        help="a file that registers methods of your own; may be repeated",
    )


def checking(command: argparse.ArgumentParser) -> None:
    """Which method to hold to the contract."""
    command.add_argument("name", help="a registered method's name")


def exporting(command: argparse.ArgumentParser) -> None:
    """Which cell to write out, and how."""
    add = command.add_argument
    add("--record", type=Path, required=True, help="the cell's record")
    add("--out", type=Path, help="the file for what was trained (default: CELL.safetensors)")
    add("--merged", type=Path, help="instead, a plain timm model with the method folded in")
    _computing(command)
