"""Measure the step time, memory and stored bytes of methods on the same batch."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import rich.console
import torch

from bench.cli import options, parsing
from bench.cli.common import print_lines
from bench.cli.parsing import Parser
from bench.config import backbone, recipe
from bench.execution import selection
from bench.models import backbones
from bench.performance import method_cost
from bench.records import store
from bench.report import ledger_files
from bench.training import devices
from bench.utils import progress_bars

EXAMPLES = (
    "cost --methods linear,lora,vpt_deep",
    "cost --methods lora --backbones vit_base_patch16_224@random --batch 64 --device cuda",
)


def add_options(parser: Parser) -> None:
    options.add_results(parser)
    add, names = parser.add_argument, parsing.names
    add(
        "--methods",
        type=names("method"),
        required=True,
        metavar="A,B",
        help="measure these methods",
    )
    add(
        "--backbones",
        type=names("backbone"),
        default=["vit_mini_mae"],
        metavar="A,B",
        help="measure on these backbones (default: vit_mini_mae)",
    )
    add(
        "--recipe",
        default="quick",
        help="use the optimiser and the precision of this recipe (default: quick)",
    )
    add(
        "--batch",
        type=parsing.whole(1, 1_000_000),
        default=32,
        help="images per batch (default: 32)",
    )
    add(
        "--rounds",
        type=parsing.whole(1, 100_000),
        default=10,
        help="measure each method this many times, in alternation (default: 10)",
    )
    add("--device", help="compute on cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    options.add_plugins(parser)


def run(args: argparse.Namespace) -> int:
    store.Store(args.results).require_writable()
    ledger_files.read_costs(args.results)  # what other backbones cost stays
    device = devices.resolve_device(args.device)
    methods = selection.require_known_methods(args.methods)
    recipe.load_recipe(args.recipe)
    for name in args.backbones:
        print_lines(backbones.find(name).notes)
    threads = torch.get_num_threads()
    jobs = [
        [
            method_cost.CostJob(one, card, args.recipe, args.batch, device, threads)
            for one in methods
        ]
        for card in dict.fromkeys(map(backbone.canonical_name, args.backbones))
    ]
    return print_lines(_measure(jobs, args.rounds, args.results))


def _measure(
    jobs: "Sequence[Sequence[method_cost.CostJob]]", rounds: int, results: Path
) -> Iterator[str]:
    """Measure the jobs of each backbone in turns, and write them as CSV."""
    costs = []
    console = rich.console.Console(stderr=True)
    for own in jobs:
        title, total = f"methods on {own[0].backbone}", method_cost.num_rounds(rounds)
        with progress_bars.step_bar(console, title, total) as advance:
            found = list(method_cost.measure_costs(own, rounds, advance))
        for line in found:
            if isinstance(line, str):
                yield line
                continue
            costs.append(line)
            yield (
                f"{line.method} on {own[0].backbone}: {line.train_step_ms:.1f} ms a step, "
                f"{line.test_batch_ms:.1f} ms a test batch, {line.peak_memory_mb:.0f} MiB, "
                f"{line.stored_bytes:,} bytes stored"
            )
    yield str(method_cost.write_csv(costs, results))
