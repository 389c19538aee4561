"""List methods, backbones, suites, tasks, recipes or studies."""

import argparse
from collections.abc import Iterator

import methods
from bench.cli import options
from bench.cli.common import print_lines
from bench.cli.parsing import Parser
from bench.config import backbone, loading, recipe, suite
from bench.papers import study

EXAMPLES = (
    "list methods",
    "list tasks --suite vtab1k",
    "list methods --plugin my_method.py",
)


def add_options(parser: Parser) -> None:
    parser.add_argument("what", choices=list(LISTS), help="list these by name")
    parser.add_argument("--suite", help="list only the tasks of this suite")
    options.add_plugins(parser)


def run(args: argparse.Namespace) -> int:
    return print_lines(list(LISTS[args.what](args.suite)))  # all, or an error


def _methods(_: str | None) -> Iterator[str]:
    """Every registered method with its fields."""
    for name in methods.names():
        yield f"{name:22} {methods.create(name)}"


def _backbones(_: str | None) -> Iterator[str]:
    """The project's cards below their families, of which a name of timm's needs no card."""
    cards = backbone.backbone_cards().values()
    for family in dict.fromkeys(card.family for card in cards):
        yield f"{family}:"
        for card in (card for card in cards if card.family == family):
            pooling = "map" if card.pooling == "backbone" else card.pooling
            size = f"{card.input_size:4} pixels  {pooling:6}"
            yield f"  {card.name:42} {size} {card.licence:15} {card.pretraining}"


def _suites(_: str | None) -> Iterator[str]:
    for one in map(suite.load_suite, loading.card_names(loading.SUITES_DIR)):
        yield f"{one.name:10} {len(one.task):2} tasks  {one.title}"


def _tasks(name: str | None) -> Iterator[str]:
    """Every task of a suite, or of all."""
    for one in map(suite.load_suite, [name] if name else loading.card_names(loading.SUITES_DIR)):
        for task in one.task:
            classes = f"{task.classes:4} classes"
            yield f"{one.name:8} {task.name:22} {task.group:12} {classes}  {task.title}"


def _recipes(_: str | None) -> Iterator[str]:
    for one in map(recipe.load_recipe, loading.card_names(loading.RECIPES_DIR)):
        yield f"{one.name:15} {one.title}"


def _studies(_: str | None) -> Iterator[str]:
    """Every study of every paper."""
    for name in study.study_names():
        yield f"{name:18} {study.load_study(name).study.title}"


LISTS = {
    "methods": _methods,
    "backbones": _backbones,
    "suites": _suites,
    "tasks": _tasks,
    "recipes": _recipes,
    "studies": _studies,
}
