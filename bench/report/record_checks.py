"""Checks of other people's records against themselves, and against the cards and methods here.

A check returns what is wrong with a record as a clause that follows its path, or an empty string.
"""

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import Any

from bench.config import recipe, search_space, suite
from bench.config.loading import RECIPES_DIR, SUITES_DIR, card_names
from bench.config.overrides import is_recipe_field, override_recipe
from bench.config.recipe import Recipe
from bench.config.suite import Shift, Suite, Task
from bench.records import schema
from bench.records.schema import PROMPTS_FROM, TUNING_KEY, Record
from bench.utils.errors import UserError, unknown_name


def _check_kind(record: Record) -> str:
    return "is a trial, scored on validation data" if schema.is_trial(record.settings) else ""


def _check_commit(record: Record) -> str:
    if record.environment.get("dirty") is False:
        return ""
    return "was made by code with uncommitted changes, or does not say by which"


def _check_task(record: Record) -> str:
    """Check the suite, the task, its classes and its number of test images."""
    s = record.settings
    try:
        card = _suite_card(s.suite)
        task = card.find(s.task)
    except UserError as error:
        return f"is of no suite or task of this checkout: {error}"
    return (
        _version_mismatch("suite", s.suite, s.suite_version, card.version)
        or _unlike_task(record, task)
        or _unlike_shifts(record, card.shifts_of(task))
    )


def _unlike_shifts(record: Record, shifts: list[Shift]) -> str:
    """Check which further test sets were scored, which were masked, and their images."""
    known = {shift.name: shift for shift in shifts}
    found = record.settings.shifts
    if odd := sorted(found.keys() ^ known.keys()):
        whose = "no" if odd[0] in known else "a"
        return f"has {whose} test set {odd[0]}, unlike task {record.settings.task!r} here"
    for name, digest in found.items():
        if schema.is_masked(digest) != (known[name].classes is not None):
            return f"has a masked test set {name} where the card has none, or the reverse"
        images, allowed = _images_of(record, name), known[name].counts
        if images and allowed and images not in allowed:
            return f"has {images} images of {name}; there are {' or '.join(map(str, allowed))}"
    return ""


def _images_of(record: Record, shift: str) -> int:
    """Return the number of images of a further test set; 0 without an outcome."""
    return record.outcome.shifts[shift].images if record.outcome else 0


def _unlike_task(record: Record, task: Task) -> str:
    images = task.counts.get("test", [])
    if record.settings.classes != task.classes:
        return f"has {record.settings.classes} classes; task {task.name!r} has {task.classes}"
    if record.settings.few_shot != task.few_shot:
        given, known = (draw or "none" for draw in (record.settings.few_shot, task.few_shot))
        return f"has few_shot {given}; task {task.name!r} has {known}"
    if record.group != task.group:
        return f"is in group {record.group!r}; task {task.name!r} is in {task.group!r}"
    if record.outcome and images and record.outcome.test_images not in images:
        wanted = " or ".join(map(str, images))
        return f"has {record.outcome.test_images} test images; task {task.name!r} has {wanted}"
    return ""


def _check_protocol(record: Record) -> str:
    """Check recipe, rates and fields: the cards', with the changes that the request names."""
    s = record.settings
    name, version = s.recipe.get("name", ""), s.recipe.get("version")
    try:
        card = _recipe_card(str(name))
        if odd := _version_mismatch("recipe", name, version, card.version):
            return odd
        changed = _changed_recipe(card, record)
    except UserError as error:
        return f"is of no recipe of this checkout: {error}"
    return (
        _unlike_recipe(record, changed)
        or search_space.tuning_inconsistency(record, changed)
        or _unlike_method(record, changed)
    )


def _changed_recipe(card: Recipe, record: Record) -> Recipe:
    asked = record.request.get("changes", {})
    changes = {k: v for k, v in asked.items() if is_recipe_field(k)}
    if "lr" in changes:
        changes["lr_of"] = {}  # as a run's: a rate from the command line holds for every method
    return override_recipe(card, changes) if changes else card


def _unlike_recipe(record: Record, changed: Recipe) -> str:
    s = record.settings
    where = s.suite, s.recipe.get("precision", "")
    is_tuned = TUNING_KEY in s.recipe
    wanted = (
        search_space.tuned_protocol(changed, *where, s.method)
        if is_tuned
        else changed.protocol(*where)
    )
    return _difference(s.recipe, wanted, f"recipe {changed.name!r}")


def _unlike_method(record: Record, changed: Recipe) -> str:
    """Check that a method is known, with its fields and rates; a plug-in's is named by its code."""
    import methods  # imports torch

    s = record.settings
    own = s.method in methods.names() and not methods.code(s.method)
    if s.code:
        return f"says that a plug-in made {s.method!r}, which is a method here" if own else ""
    if not own:
        error = unknown_name("method", s.method, methods.names())
        return f"is of no method of this checkout, and names no plug-in's code: {error}"
    return _unlike_fields(record, changed) or _unlike_rates(record, changed)


def _unlike_fields(record: Record, changed: Recipe) -> str:
    """Check the fields that no trial chose: the method's own, the recipe's, and those asked for."""
    import methods
    from methods.shared.hyperparameters import without_later_defaults

    s, plain = record.settings, methods.create(record.settings.method)
    known = {f.name: getattr(plain, f.name) for f in fields(plain)}
    asked = {k: v for k, v in record.request.get("changes", {}).items() if k in known}
    wanted = known | changed.fields_of(s.method, known) | asked
    wanted = without_later_defaults(plain, wanted)
    others = {*schema.searched_fields(s), PROMPTS_FROM}
    given, wanted = ({k: v for k, v in d.items() if k not in others} for d in (s.fields, wanted))
    return _difference(given, wanted, f"method {s.method!r}")


def _unlike_rates(record: Record, changed: Recipe) -> str:
    s = record.settings
    if TUNING_KEY in s.recipe:  # trials chose them
        return ""
    return _difference(s.rates, changed.rates(s.method), f"recipe {changed.name!r}")


def _difference(given: dict[str, Any], wanted: dict[str, Any], what: str) -> str:
    plain, expected = (_plain(table) for table in (given, wanted))
    odd = [k for k in sorted({*plain, *expected}) if plain.get(k) != expected.get(k)]
    if not odd:
        return ""
    return f"has another {', '.join(odd)} than {what}, and its request does not say so"


def _plain(table: dict[str, Any]) -> dict[str, Any]:
    """Return the values as JSON has them: lists for tuples."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in table.items()}


@cache
def _suite_card(name: str) -> Suite:
    """Return a suite of this checkout, by its name: never by a path, which may lead anywhere."""
    return suite.load_suite(_require_name(name, "suite", card_names(SUITES_DIR)))


@cache
def _recipe_card(name: str) -> Recipe:
    return recipe.load_recipe(_require_name(name, "recipe", card_names(RECIPES_DIR)))


def _require_name(name: str, kind: str, known: list[str]) -> str:
    if name not in known:
        raise unknown_name(kind, name, known)
    return name


def _version_mismatch(kind: str, name: str, given: Any, known: int) -> str:
    if given == known:
        return ""
    return f"is of version {given} of {kind} {name!r}; this checkout has version {known}"


CHECKS: tuple[Callable[[Record], str], ...] = (
    _check_kind,
    _check_commit,
    _check_task,
    _check_protocol,
)
