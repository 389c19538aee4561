"""Write how hard the tasks of a built-in suite are: chance, nearest neighbour, baselines."""

import argparse

from bench.cli import common, options
from bench.cli.common import print_lines
from bench.cli.parsing import Parser
from bench.config import suite
from bench.data import difficulty, embedded
from bench.report import difficulty_page, generate
from bench.utils import files
from bench.utils.errors import UserError

EXAMPLES = (
    "difficulty",
    "difficulty --suite mini --results results",
)


def add_options(parser: Parser) -> None:
    parser.add_argument(
        "--suite", default="vtab_mini", help="take this built-in suite (default: vtab_mini)"
    )
    options.add_results(parser)


def run(args: argparse.Namespace) -> int:
    card = suite.load_suite(args.suite)
    common.require_results(args.results)
    for task in card.task:
        if task.embedded not in embedded.TASKS:
            raise UserError(f"{task.name} of {card.name} is not built in: its pixels are not known")
    untrained = {task.name: difficulty.chance_and_neighbour(task.embedded) for task in card.task}
    boards, _ = generate.read_boards(args.results)
    page = difficulty_page.render_difficulty(card, boards, untrained)
    path = args.results / "suites" / f"{card.name}.md"
    files.write_atomically(path, page.encode())
    return print_lines([path])
