"""A study as the command line asks for it: planned, and shown."""

from pathlib import Path

from bench.errors import UserError
from bench.plan import Plan, Request
from bench.records import Store
from bench.report import files
from bench.studies import cards, pages, planning, quick
from bench.studies.cards import Study

# An entry of a request, and its option.
SAID = {"suite": "suite", "methods": "methods", "backbones": "backbones", "tasks": "tasks",
        "recipe": "recipe", "changes": "set", "tune": "tune"}  # fmt: skip
NOTHING: tuple[object, ...] = (None, [], {})  # was said: --no-tune is something


def plan(name: str, is_quick: bool, asked: Request, store: Store) -> Plan:
    """The cells of a study; raises `UserError` where the request says what its card says."""
    return planning.make(_study(name, is_quick, asked), asked, store)


def searched(name: str, is_quick: bool, asked: Request) -> list[Request]:
    """What a study asks for whose cells come after trials; nothing of another; raises as `plan`."""
    study = _study(name, is_quick, asked)
    if not study.tune:
        return []
    planning.require(study, asked)
    return list(planning.requests(study, asked))


def _study(name: str, is_quick: bool, asked: Request) -> Study:
    if "tuning.halving" in asked.changes:
        raise UserError(
            f"--halving cannot go with --study: the recipe of {name} says how trials go"
        )
    for entry, option in SAID.items():
        if getattr(asked, entry) not in NOTHING:
            raise UserError(f"--{option} cannot go with --study: the card of {name} says it")
    named = cards.load(name)
    return quick.mapped(name, named.study)[0] if is_quick else named.study


def write(name: str, is_quick: bool, results: Path) -> None:
    """Write what the study shows, of what there is."""
    records, _ = files.sound(Store(results))
    pages.write(cards.load(name), is_quick, records, results)


def page(name: str, is_quick: bool, results: Path) -> Path:
    """Where that is to be read."""
    return pages.path(cards.load(name), is_quick, results)
