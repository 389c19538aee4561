"""Show, download and check the weights of backbones."""

import argparse

import rich.console

from bench.cli import options, parsing
from bench.cli.common import FAILED, print_error, print_lines
from bench.cli.parsing import Parser
from bench.prepare import weights
from bench.utils import progress_bars

EXAMPLES = (
    "weights status",
    "weights fetch vit_base_patch16_224.mae",
    "weights check vit_base_patch16_224.orig_in21k@ViT-B_16.npz",
)


def add_options(parser: Parser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (sentence, count, run_own) in SUBCOMMANDS.items():
        command = commands.add_parser(name, help=sentence, description=sentence)
        default = "" if count == "+" else " (default: the project's own cards)"
        command.add_argument(
            "names",
            nargs=count,
            metavar="NAME",
            help=f"backbones, named as for run --backbones{default}",
        )
        if name == "fetch":
            _add_licences(command)
        options.add_debug(command)
        command.set_defaults(run_own=run_own)


def run(args: argparse.Namespace) -> int:
    return int(args.run_own(args))


def _add_licences(parser: Parser) -> None:
    parser.add_argument(
        "--accept-license",
        type=parsing.names("licence"),
        action="extend",
        default=[],
        metavar="A,B",
        help="accept the terms of these licences, which you have read: cc-by-nc-4.0, "
        "dinov3-license",
    )


def _run_status(args: argparse.Namespace) -> int:
    return print_lines(weights.status_lines(args.names))


def _run_fetch(args: argparse.Namespace) -> int:
    console = rich.console.Console(stderr=True)
    with progress_bars.TransferProgress(console).live() as bars:
        return print_lines(weights.fetch(args.names, args.accept_license, bars.on_bytes))


def _run_check(args: argparse.Namespace) -> int:
    failed: list[str] = []
    print_lines(weights.check(args.names, failed))
    for problem in failed:
        print_error(problem, FAILED)
    return FAILED if failed else 0


SUBCOMMANDS = {
    "status": ("show for each backbone whether its weights are here, or how to get them", "*",
               _run_status),
    "fetch": ("download weights, resumed and checked", "+", _run_fetch),
    "check": ("load weights and compare them with their cards", "*", _run_check),
}  # fmt: skip
