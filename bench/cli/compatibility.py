"""Write the table of which methods work on which backbones, and why others do not."""

import argparse
from pathlib import Path

from bench.cli import options
from bench.cli.common import print_lines
from bench.cli.parsing import Parser
from bench.performance import compatibility_page
from bench.utils import files

PAGE = Path("docs/reference/compatibility.md")

EXAMPLES = (
    "compatibility",
    "compatibility --plugin my_method.py --out compatibility.md",
)


def add_options(parser: Parser) -> None:
    add = parser.add_argument
    add("--out", type=Path, default=PAGE, help=f"write this file (default: {PAGE})")
    options.add_plugins(parser)


def run(args: argparse.Namespace) -> int:
    files.write_atomically(args.out, compatibility_page.markdown_page().encode())
    return print_lines([args.out])
