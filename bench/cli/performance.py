"""Measure the speed and the memory of the harness itself."""

import argparse

from bench.cli import options, parsing
from bench.cli.common import print_lines
from bench.cli.parsing import Parser
from bench.performance import page
from bench.records import store
from bench.training import devices

EXAMPLES = (
    "performance",
    "performance --only initialisation,steps --device cuda",
)


def add_options(parser: Parser) -> None:
    options.add_results(parser)
    add = parser.add_argument
    add("--device", help="measure on cpu, cuda, ... (default: a GPU if there is one)")
    add(
        "--only",
        type=parsing.names("section"),
        default=[],
        metavar="A,B",
        help="measure only these sections; the others keep their numbers (default: all)",
    )


def run(args: argparse.Namespace) -> int:
    store.Store(args.results).require_writable()
    device = devices.resolve_device(args.device)
    return print_lines(page.measure_and_write(args.results, device, args.only))
