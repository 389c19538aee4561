"""Pretrain a small backbone on a folder of images."""

import argparse
from pathlib import Path

from bench.cli import common
from bench.cli.common import print_lines
from bench.training import pretraining
from bench.utils.errors import UserError


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("objective", choices=["mae", "supervised"])
    add("--size", choices=["micro", "mini"], default="mini", help="of the backbone (mini)")
    add("--images", type=Path, required=True, help="a folder with a sub-folder of images a class")
    add("--out", type=Path, required=True, help="the safetensors file to write")
    add("--epochs", type=common.whole(1, 100_000), help="default: the objective's")
    add("--seed", type=common.whole(0, 2**32 - 1), default=0)


def run(args: argparse.Namespace) -> int:
    if not args.images.is_dir():
        raise UserError(f"no folder of images at {args.images}")
    epochs = pretraining.pretrain(
        args.objective, args.size, args.images, args.out, args.epochs, args.seed
    )
    return print_lines(
        f"epoch {epoch.number}: loss {epoch.loss:.4f}, {epoch.seconds:.0f} s" for epoch in epochs
    )
