"""Run the contract tests of a method on a small model."""

import argparse

import methods
from bench.cli import options
from bench.cli.common import FAILED, print_lines
from bench.cli.parsing import Parser
from bench.execution import selection
from bench.models import method_checks

EXAMPLES = (
    "check-method lora",
    "check-method scale --plugin my_method.py",
)


def add_options(parser: Parser) -> None:
    parser.add_argument("name", help="the name of a registered method")
    options.add_plugins(parser)


def run(args: argparse.Namespace) -> int:
    selection.require_known_methods([args.name])
    is_broken = False
    for sentence, problem in method_checks.run_checks(methods.create(args.name)):
        print_lines(
            [f"broken {sentence}", f"       {problem}"] if problem else [f"kept   {sentence}"]
        )
        is_broken |= bool(problem)
    return FAILED if is_broken else 0
