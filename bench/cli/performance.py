"""Measure what is meant to be fast, in pairs that take turns."""

import argparse

from bench.cli import common
from bench.cli.common import print_lines
from bench.performance import page
from bench.records import store
from bench.training import devices


def add_options(parser: argparse.ArgumentParser) -> None:
    common.add_results(parser)
    add = parser.add_argument
    add("--device", help="cpu, cuda ... (default: a GPU if there is one)")
    add(
        "--only",
        type=common.names("section"),
        default=[],
        metavar="A,B",
        help="sections of the page; the others stay as they are (default: all)",
    )


def run(args: argparse.Namespace) -> int:
    store.Store(args.results).require_writable()
    device = devices.resolve_device(args.device)
    return print_lines(page.measure_and_write(args.results, device, args.only))
