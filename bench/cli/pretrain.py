"""Pretrain a small backbone on a folder of images."""

import argparse
from pathlib import Path

from bench.cli import parsing
from bench.cli.common import print_lines
from bench.cli.parsing import Parser
from bench.training import pretraining
from bench.utils import text
from bench.utils.errors import UserError

EXAMPLES = (
    "pretrain mae --images photos --out vit_mini_mae.safetensors",
    "pretrain supervised --size micro --images photos --out vit_micro.safetensors",
)


def add_options(parser: Parser) -> None:
    add = parser.add_argument
    add(
        "objective",
        choices=["mae", "supervised"],
        help="pretrain as a masked autoencoder, or on the labels",
    )
    add(
        "--size",
        choices=["micro", "mini"],
        default="mini",
        help="the size of the backbone (default: mini)",
    )
    add(
        "--images",
        type=Path,
        required=True,
        help="read images from this folder, one sub-folder per class",
    )
    add("--out", type=Path, required=True, help="write this safetensors file")
    add(
        "--epochs",
        type=parsing.whole(1, 100_000),
        help="train for this many epochs (default: as the objective needs)",
    )
    add(
        "--seed",
        type=parsing.whole(0, 2**32 - 1),
        default=0,
        help="draw with this seed (default: 0)",
    )


def run(args: argparse.Namespace) -> int:
    if not args.images.is_dir():
        raise UserError(f"no folder of images at {args.images}")
    epochs = pretraining.pretrain(
        args.objective, args.size, args.images, args.out, args.epochs, args.seed
    )
    return print_lines(
        f"epoch {one.number} of {one.total}: loss {one.loss:.4f}, {one.seconds:.0f} s, "
        f"about {text.format_duration(one.seconds * (one.total - one.number))} left"
        for one in epochs
    )
