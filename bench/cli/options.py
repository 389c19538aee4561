"""The options that several commands share, in groups of the help.

The groups: what is compared, data, which cells are run, how cells are run, results.
"""

import argparse
import os
from pathlib import Path

from bench.cli import parsing
from bench.cli.parsing import Parser, names, whole

COMPARED = "what is compared"
DATA = "data"
CHOSEN = "which cells are run"
RUN = "how cells are run"
RESULTS = "results"
VARIANTS = ("lossless", "jpeg75")  # as `data.prepared` has them, which takes long to import


def add_debug(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def add_results(parser: Parser) -> None:
    parser.group(RESULTS).add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        metavar="FOLDER",
        help="read and write records and tables in this folder (default: results)",
    )


def add_plugins(parser: Parser) -> None:
    """Add the option of a user's own methods."""
    parser.group(COMPARED).add_argument(
        "--plugin",
        type=Path,
        action="append",
        default=[],
        dest="plugins",
        metavar="FILE.py",
        help="load methods of your own from this file; can be repeated",
    )


def add_data_root(parser: Parser) -> None:
    """Add the option of where the data are."""
    parser.group(DATA).add_argument(
        "--data-root",
        type=Path,
        default=Path(os.environ.get("BENCH_DATA") or "data"),
        metavar="FOLDER",
        help="look for each task's folder in this folder; synthetic: draw the images instead, to "
        "rehearse a job without data (default: $BENCH_DATA, or data)",
    )


def add_papers(parser: Parser, purpose: str) -> None:
    """Add the option that names papers; `purpose` is its help."""
    parser.add_argument(
        "--paper", type=names("paper"), default=[], dest="papers", metavar="A,B", help=purpose
    )


def add_variant(parser: Parser) -> None:
    """Add the option of which variant of prepared data to read."""
    parser.group(DATA).add_argument(
        "--variant",
        choices=VARIANTS,
        help="read this variant of prepared or built-in images (default: lossless if it exists)",
    )


def add_device(parser: Parser) -> None:
    """Add the option of which device computes."""
    parser.group(RUN).add_argument(
        "--device", help="compute on cpu, cuda, cuda:1, ... (default: a GPU if there is one)"
    )


def add_computing(parser: Parser) -> None:
    """Add the options of where the data are, and which device computes."""
    add_data_root(parser)
    add_device(parser)


def add_selection(parser: Parser) -> None:
    """Add the options that select cells; `request_of` reads them."""
    _add_names(parser)
    _add_recipe(parser)
    add_variant(parser)
    add_computing(parser)


def _add_names(parser: Parser) -> None:
    add = parser.group(COMPARED).add_argument
    add("--suite", help="take this suite: a name or a card.toml (default: the demo tasks of mini)")
    add(
        "--methods",
        type=names("method"),
        default=[],
        metavar="A,B",
        help="compare these methods (default: those of the suite's card)",
    )
    add(
        "--backbones",
        type=names("backbone"),
        default=[],
        metavar="A,B",
        help="use these backbones: names of cards or of timm, a card.toml, or NAME@WEIGHTS "
        "(default: those of the suite's card)",
    )
    add(
        "--tasks",
        type=names("task"),
        default=[],
        metavar="A,B",
        help="run only these tasks (default: all of the suite)",
    )
    add(
        "--seeds",
        type=parsing.seeds,
        default=[],
        metavar="0,1",
        help="repeat every run with these seeds (default: those of the suite's card)",
    )


def _add_recipe(parser: Parser) -> None:
    add = parser.group(COMPARED).add_argument
    add("--recipe", help="train by this recipe: a name or a card.toml (default: the suite's)")
    add(
        "--set",
        type=parsing.change,
        action="append",
        default=[],
        dest="changes",
        metavar="FIELD=VALUE",
        help="override a field of the recipe or of the methods that have it; can be repeated, "
        "and the last value of a field counts",
    )


def add_study(parser: Parser) -> None:
    """Add the options of a paper's study, in place of the suite, methods and so on."""
    add = parser.group(COMPARED).add_argument
    add(
        "--study",
        metavar="PAPER/STUDY",
        help="run an analysis of a paper instead: a name from `list studies`, or a card.toml",
    )
    add(
        "--quick",
        action="store_true",
        help="run the study on the built-in tasks and backbones instead of the paper's",
    )


def add_tuning(parser: Parser) -> None:
    """Add the options of whether trials on validation data choose the rates, and how."""
    parser.group(COMPARED).add_argument(
        "--tune",
        action=argparse.BooleanOptionalAction,
        help="choose learning rates and fields by trials on validation data first "
        "(default: as the recipe says)",
    )
    add_halving(parser)


def add_halving(parser: Parser) -> None:
    """Add the option of successive halving."""
    parser.group(COMPARED).add_argument(
        "--halving",
        action="store_true",
        help="tune by successive halving: short trials first, then longer ones of the better half",
    )


def add_run_options(parser: Parser) -> None:
    """Add the options of how cells are run; `run_options_of` reads them."""
    _add_choice_of_cells(parser)
    _add_executor(parser)
    _add_attempts(parser)
    _add_clusters(parser)


def _add_choice_of_cells(parser: Parser) -> None:
    add = parser.group(CHOSEN).add_argument
    add("--dry-run", action="store_true", help="print the cells that would be run, and stop")
    add("--force", action="store_true", help="run cells again that already have a record")
    add("--only", choices=["failed"], help="run only the cells whose record is a failure")
    add("--limit-cells", type=whole(1), metavar="N", help="run at most this many cells")


def _add_executor(parser: Parser) -> None:
    add = parser.group(RUN).add_argument
    add(
        "--executor",
        choices=["local", "ray", "slurm", "slurm-local"],
        default="local",
        help="run cells on this machine, on a Ray cluster, or as Slurm jobs; slurm-local tries "
        "Slurm jobs without Slurm (default: local)",
    )
    add(
        "--workers",
        type=whole(0),
        metavar="N",
        help="run this many cells at once; 0 runs them in this process (default: one for each "
        "GPU, or for each core if the backbone is small, or what the cluster has)",
    )
    add(
        "--per-gpu",
        type=whole(1),
        default=1,
        metavar="K",
        help="let this many workers share a GPU (default: 1)",
    )
    add(
        "--processes",
        type=whole(1),
        default=1,
        metavar="N",
        help="train each cell with this many processes, on a GPU each (default: 1)",
    )
    add(
        "--trials-per-pass",
        type=whole(1),
        default=1,
        metavar="K",
        help="train up to this many tuning trials of a method on a task at once, on one copy of "
        "the frozen weights (default: 1)",
    )
    add(
        "--deterministic",
        action="store_true",
        help="use only deterministic algorithms: slower on a GPU; a cell whose operator has none "
        "fails, and its record names the operator",
    )
    add("--tensorboard", action="store_true", help="write each cell's curves for TensorBoard")


def _add_attempts(parser: Parser) -> None:
    add = parser.group(RUN).add_argument
    add(
        "--timeout",
        type=parsing.seconds,
        metavar="SECONDS",
        help="stop a cell that takes longer than this, and record it as failed",
    )
    add(
        "--checkpoint-every",
        type=parsing.seconds_or_0,
        default=300.0,
        metavar="SECONDS",
        help="write a checkpoint of a cell in training this often, from which it resumes after a "
        "kill; 0: after every epoch (default: 300)",
    )
    add(
        "--retry",
        type=whole(0),
        default=0,
        metavar="N",
        help="try a failed cell again up to this many times (default: 0)",
    )
    add("--fail-fast", action="store_true", help="start no further cell after one has failed")


def _add_clusters(parser: Parser) -> None:
    add = parser.group(RUN).add_argument
    add(
        "--address",
        metavar="HOST:PORT",
        help="connect to the Ray cluster at this address (default: $RAY_ADDRESS, or start one)",
    )
    add(
        "--slurm",
        type=parsing.sbatch_option,
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="pass an option to sbatch, such as partition=gpu or time=240; can be repeated",
    )
