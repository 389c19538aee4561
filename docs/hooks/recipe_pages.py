"""The reference of recipes, from their cards and the class that reads them."""

from itertools import takewhile
from pathlib import Path

import field_tables
from bench.config import recipe
from bench.config.loading import RECIPES_DIR

HEADER = """\
# Recipes

A recipe fixes how every method of a table is trained. Choose one with `--recipe NAME`, or pass a
card of your own as `--recipe my.toml`; `--set FIELD=VALUE` overrides a field. A recipe's name,
version and changes are part of a record's settings, so results under different recipes never share
a table.

| recipe | optimiser | learning rate | weight decay | batch | epochs | warm-up | trials |
|:--|:--|--:|--:|--:|--:|--:|--:|
"""
FIELDS = "## Fields\n"


def markdown_page() -> str:
    """Return the page: all recipes in one table, the fields, and each card."""
    cards = sorted(RECIPES_DIR.glob("*.toml"))
    rows = [row(recipe.load_recipe(path.stem)) for path in cards]
    parts = (recipe.Recipe, recipe.Views, recipe.Tuning)
    tables = [f"### {cls.__name__}\n\n{field_tables.table(cls)}" for cls in parts]
    return "\n".join([HEADER + "\n".join(rows) + "\n", FIELDS, *tables, *map(section, cards)])


def row(one: recipe.Recipe) -> str:
    """Return a recipe's row: `trials` are those of a method that is tuned; a dash if none are."""
    trials = str(one.tuning.trials or one.num_rate_pairs()) if one.grid else "–"
    numbers = (one.lr, one.weight_decay, one.batch, one.epochs, one.warmup_epochs)
    cells = (f"[{one.name}](#{one.name})", one.optimiser, *(f"{n:g}" for n in numbers), trials)
    return f"| {' | '.join(cells)} |"


def section(path: Path) -> str:
    """Return the section of a card: its opening comment, and its text."""
    lines = path.read_text(encoding="utf-8").splitlines()
    opening = list(takewhile(lambda line: line.startswith("#"), lines))
    words = " ".join(line.lstrip("# ") for line in opening)
    text = "\n".join(lines[len(opening) :]).strip()
    return f"## {path.stem}\n\n{words}\n\n```toml\n{text}\n```\n"
