"""Write the page of methods and backbones: what works, and why the rest does not."""

import argparse
from pathlib import Path

from bench.cli import common
from bench.cli.common import print_lines
from bench.performance import compatibility_page
from bench.utils import files


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", type=Path, help="the file to write (default: docs/compatibility.md)")
    common.add_plugins(parser)


def run(args: argparse.Namespace) -> int:
    path = args.out or files.REPO_ROOT / compatibility_page.PAGE
    files.write_atomically(path, compatibility_page.markdown_page().encode())
    return print_lines([path])
