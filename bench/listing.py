"""What there is by name: a line each."""

from collections.abc import Callable

from bench import cards


def methods(_: str | None) -> list[str]:
    """Every registered method with its fields."""
    import methods as known  # imports torch, which no other list needs

    return [f"{name:22} {known.create(name)}" for name in known.names()]


def backbones(_: str | None) -> list[str]:
    """Every card of a backbone."""
    found = cards.backbone_cards().items()
    return [f"{name:40} {card.pretraining}" for name, card in found]


def suites(_: str | None) -> list[str]:
    """Every suite."""
    found = [cards.load_suite(name) for name in cards.names(cards.SUITES)]
    return [f"{suite.name:10} {len(suite.task):2} tasks  {suite.title}" for suite in found]


def tasks(suite: str | None) -> list[str]:
    """Every task of a suite, or of all."""
    found = [cards.load_suite(name) for name in ([suite] if suite else cards.names(cards.SUITES))]
    return [
        f"{suite.name:8} {task.name:22} {task.group:12} {task.classes:4} classes  {task.title}"
        for suite in found
        for task in suite.task
    ]


def recipes(_: str | None) -> list[str]:
    """Every recipe."""
    found = [cards.load_recipe(name) for name in cards.names(cards.RECIPES)]
    return [f"{recipe.name:10} {recipe.title}" for recipe in found]


def studies(_: str | None) -> list[str]:
    """Every study of every paper."""
    from bench.studies import cards as studied

    return [f"{name:18} {studied.load(name).study.title}" for name in studied.names()]


LISTS: dict[str, Callable[[str | None], list[str]]] = {
    "methods": methods,
    "backbones": backbones,
    "suites": suites,
    "tasks": tasks,
    "recipes": recipes,
    "studies": studies,
}
