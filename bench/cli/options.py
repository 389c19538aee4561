"""What the commands understand: the options of each, apart from what they do."""

import argparse
import os
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from bench.data import prepared

KINDS = ["methods", "backbones", "suites", "tasks", "recipes", "studies"]


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
    varying(command)
    _computing(command)


def studying(command: argparse.ArgumentParser) -> None:
    """A paper's analysis, in place of the suite, methods and so on."""
    add = command.add_argument
    add("--study", metavar="PAPER/STUDY", help="name or card.toml: run its cells, and show them")
    add("--quick", action="store_true", help="the study over the suite mini and its backbones")


def rooting(command: argparse.ArgumentParser) -> None:
    """Where the data lie."""
    command.add_argument(
        "--data-root",
        type=Path,
        default=Path(os.environ.get("BENCH_DATA", "data")),
        help="where the tasks' folders lie (default: $BENCH_DATA, or data)",
    )


def _computing(command: argparse.ArgumentParser) -> None:
    rooting(command)
    command.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: a GPU if there is one)")


def varying(command: argparse.ArgumentParser) -> None:
    """Which variant of prepared data."""
    command.add_argument(
        "--variant",
        choices=prepared.VARIANTS,
        help="of prepared data (default: lossless, else a folder as found)",
    )


def storing(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--results", type=Path, default=Path("results"), help="of records and tables (results)"
    )


def tuning(command: argparse.ArgumentParser) -> None:
    """Whether trials on validation data choose the rates, and how."""
    command.add_argument(
        "--tune",
        action=argparse.BooleanOptionalAction,
        help="let trials on validation data choose rates and fields first (default: the recipe's)",
    )
    halving(command)


def halving(command: argparse.ArgumentParser) -> None:
    """How trials go."""
    command.add_argument(
        "--halving",
        action="store_true",
        help="short trials first, and longer ones of the better half, within the same budget",
    )


def running(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--dry-run", action="store_true", help="print the cells and stop")
    add("--force", action="store_true", help="run cells that have a record, too")
    add("--only", choices=["failed"], help="of the cells, those whose record is a failure")
    add("--limit-cells", type=_whole(1), metavar="N", help="run so many at most")


def _whole(least: int) -> Callable[[str], int]:
    """Whole numbers from `least`."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"a whole number from {least} was expected, got {text!r}"
            )
        return int(text)

    return number


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.strip("-").partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"expected OPTION=VALUE, got {text!r}")
    return name.replace("-", "_"), value


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"a number of seconds was expected, got {text!r}")


def watching(command: argparse.ArgumentParser) -> None:
    """Whether to go on looking."""
    command.add_argument(
        "--watch", action="store_true", help="say it again whenever it changes, until all is over"
    )


def executing(command: argparse.ArgumentParser) -> None:
    """Where cells run, and what becomes of those that fail."""
    add = command.add_argument
    add(
        "--executor",
        choices=["local", "ray", "slurm", "slurm-local"],
        default="local",
        help="where cells run (default: local, on this machine); slurm-local tries it here",
    )
    add(
        "--workers",
        type=_whole(0),
        metavar="N",
        help="processes, or cells at once (default: one a GPU, or one; on a cluster, what it has); "
        "0: in the command's own process",
    )
    add("--per-gpu", type=_whole(1), default=1, metavar="K", help="processes a GPU (default: 1)")
    add(
        "--processes",
        type=_whole(1),
        default=1,
        metavar="N",
        help="that train a cell together, on a GPU each (default: 1)",
    )
    add("--tensorboard", action="store_true", help="write the course of each cell, to be watched")
    add("--address", metavar="HOST:PORT", help="of a Ray cluster (default: $RAY_ADDRESS, or none)")
    add(
        "--slurm",
        type=_option,
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="an option of sbatch's: partition, time, gres ...; may be repeated",
    )
    add("--timeout", type=_seconds, metavar="SECONDS", help="that a cell may take")
    add("--retry", type=_whole(0), default=0, metavar="N", help="further attempts at a failed cell")
    add("--fail-fast", action="store_true", help="start no other cell after one has failed")


def listing(command: argparse.ArgumentParser) -> None:
    command.add_argument("what", choices=KINDS)
    command.add_argument("--suite", help="list the tasks of this suite alone")


def pretraining(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("objective", choices=["mae", "supervised"])
    add("--size", choices=["micro", "mini"], default="mini", help="of the backbone (mini)")
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


def papering(command: argparse.ArgumentParser) -> None:
    """Which papers' tables to write."""
    add = command.add_argument
    add(
        "--paper",
        type=_names("paper"),
        default=[],
        dest="papers",
        metavar="A,B",
        help="write the tables of these papers, too; all of them: all",
    )
    add("--suite", help="fill them from a suite that stands in for the papers' own: mini")
    add("--against", action="store_true", help="set the papers' claims beside the figures")
    add("--recipe", help="fill them from records under this recipe (default: the paper's)")


def claiming(command: argparse.ArgumentParser) -> None:
    """Which papers' claims to judge."""
    add = command.add_argument
    add("--paper", type=_names("paper"), default=[], dest="papers", metavar="A,B")
    add("--recipe", help="compare with records under this recipe (default: the papers')")


def naming(command: argparse.ArgumentParser) -> None:
    """One cell."""
    command.add_argument("cell", help="the first digits of its name, or its record's file")


def pairing(command: argparse.ArgumentParser) -> None:
    """Two cells."""
    for name in ("first", "second"):
        command.add_argument(name, help="the first digits of a cell's name, or its record's file")


def sharing(command: argparse.ArgumentParser) -> None:
    """Others' records."""
    command.add_argument(
        "paths", type=Path, nargs="*", metavar="PATH", help="others' records: files or folders"
    )


def merging(command: argparse.ArgumentParser) -> None:
    """Others' records, at least one."""
    command.add_argument(
        "paths", type=Path, nargs="+", metavar="PATH", help="others' results folders or records"
    )


def costing(command: argparse.ArgumentParser) -> None:
    """Which methods to measure on the same work."""
    add = command.add_argument
    add("--methods", type=_names("method"), required=True, metavar="A,B")
    add("--backbones", type=_names("backbone"), default=["vit_mini_mae"], metavar="A,B")
    add("--recipe", default="quick", help="whose optimiser and precision (default: quick)")
    add("--batch", type=int, default=32, help="images (default: 32)")
    add("--rounds", type=int, default=10, help="turns that each method takes (default: 10)")
    add("--device", help="cpu, cuda, cuda:1 ... (default: a GPU where there is one)")


def exporting(command: argparse.ArgumentParser) -> None:
    """What to write out, and how."""
    add = command.add_argument
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("--record", type=Path, help="a cell, by its record: write what it trains")
    what.add_argument("--format", help="write all results, as csv, parquet or latex")
    add("--out", type=Path, help="the file to write (default: named after the cell or the format)")
    add("--merged", type=Path, help="instead, a plain timm model with the method folded in")
    _computing(command)


def preparing(command: argparse.ArgumentParser) -> None:
    """Which sources to fetch and prepare."""
    add = command.add_argument
    add("--suite", default="vtab1k", help="name or card.toml (default: vtab1k)")
    add("--tasks", type=_names("task"), default=[], metavar="A,B", help="default: all")
    add(
        "--accept-license",
        type=_names("source"),
        action="extend",
        default=[],
        metavar="A,B",
        help="sources whose terms you have read and accept",
    )
    add("--force", action="store_true", help="prepare anew what is prepared already")
    rooting(command)


def importing(command: argparse.ArgumentParser) -> None:
    """Which copy to bring in."""
    add = command.add_argument
    add("path", type=Path, metavar="PATH", help="vtab-1k.zip, say, or a folder")
    add("--suite", default="vtab1k", help="name or card.toml (default: vtab1k)")
    add("--tasks", type=_names("task"), default=[], metavar="A,B", help="default: all it holds")
    add(
        "--variant",
        choices=prepared.VARIANTS,
        help="what its images are (default: as their files show)",
    )
    rooting(command)


def checking_data(command: argparse.ArgumentParser) -> None:
    """Which prepared tasks to check."""
    add = command.add_argument
    add("--suite", default="vtab1k", help="name or card.toml (default: vtab1k)")
    add("--tasks", type=_names("task"), default=[], metavar="A,B", help="default: all there are")
    add("--deep", action="store_true", help="hash every byte and decode every image")
    varying(command)
    rooting(command)


def surveying(command: argparse.ArgumentParser) -> None:
    """Which suites' tasks to tell of."""
    command.add_argument(
        "--suite",
        type=_names("suite"),
        default=["vtab1k", "fgvc"],
        dest="suites",
        metavar="A,B",
        help="names or cards (default: vtab1k,fgvc)",
    )
    rooting(command)


def measuring(command: argparse.ArgumentParser) -> None:
    """What to measure, and where."""
    add = command.add_argument
    add("--device", help="cpu, cuda ... (default: a GPU if there is one)")
    add(
        "--only",
        type=_names("section"),
        default=[],
        metavar="A,B",
        help="sections of the page; the others stay as they are (default: all)",
    )
