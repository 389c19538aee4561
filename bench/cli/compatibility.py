"""Write the page of methods and backbones: what works, and why the rest does not."""

import argparse
from pathlib import Path

from bench.cli import common
from bench.cli.common import print_lines
from bench.performance import compatibility_page
from bench.utils import files

PAGE = Path("docs/compatibility.md")


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", type=Path, default=PAGE, help=f"the file to write (default: {PAGE})")
    common.add_plugins(parser)


def run(args: argparse.Namespace) -> int:
    files.write_atomically(args.out, compatibility_page.markdown_page().encode())
    return print_lines([args.out])
