"""The methods, prompts and data that a request selects, looked up and checked before any compute.

Methods are known by name, plug-ins included, with their fields overridden; prompts may come from
another task's images; data are checked for presence, split lists and content.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

import methods
from bench.config.bounds import check_plain
from bench.config.overrides import (
    BACKBONE_FIELDS,
    is_backbone_field,
    is_recipe_field,
    override_recipe,
    suggest_fields,
)
from bench.config.recipe import Recipe, load_recipe
from bench.config.suite import Selection, Split, Suite, Task, load_suite
from bench.data import locations, prepared, synthetic
from bench.data.splits import checked_digest, load_split
from bench.execution.request import Request
from bench.prepare import folder_check, shift_check
from bench.records.entries import MAX_IMAGES
from bench.records.schema import PROMPTS_FROM
from bench.utils.errors import UserError, first_line, unknown_name
from bench.utils.files import read_regular_file
from bench.utils.names import shorten
from methods import Method
from methods.shared import source_hash
from methods.shared.registry import registering_plugin

MODULE_PREFIX = "bench_plugin_"  # of the modules of plug-ins
MAX_PLUGIN = 2**24  # bytes
MAX_NAMED = 20  # tasks in a sentence
NO_FIELDS: Mapping[str, Any] = MappingProxyType({})


def load_plugins(paths: Iterable[Path]) -> list[str]:
    """Run each file, which registers its methods; return a sentence for each file that fails."""
    return [problem for path in paths if (problem := _load_plugin(path))]


def loaded_plugins() -> list[Path]:
    """Return the files whose methods are in the registry."""
    found = [module for name, module in sys.modules.items() if name.startswith(MODULE_PREFIX)]
    return [Path(module.__file__).resolve() for module in found if module.__file__]


def _load_plugin(path: Path) -> str | None:
    name = f"{MODULE_PREFIX}{path.stem}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not _is_file(path):
        return f"the plug-in {path} is not a Python file that is there"
    try:
        read_regular_file(path, MAX_PLUGIN, follow_links=True)
    except OSError as error:
        return f"the plug-in {path} cannot be read: {error.strerror}"
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look their module up by name
    before = set(methods.names())
    try:
        with registering_plugin(source_hash.hash_file(path)):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a user's file raises: the rest goes on
        sys.modules.pop(name, None)
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
        return f"the plug-in {path} was left out: {type(error).__name__}: {first_line(error)}{line}"
    if set(methods.names()) == before:
        return f"the plug-in {path} registers no method"
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def load_cards(request: Request) -> tuple[Suite, Selection, Recipe, dict[str, Any]]:
    """Load a request's suite, selection and recipe; return the methods' overrides, too."""
    suite = load_suite(request.suite or "mini")
    recipe, overrides = _apply_recipe_overrides(
        load_recipe(request.recipe or suite.recipe), request.changes
    )
    _require_views_used(recipe, suite, request.changes)
    return suite, _select_names(request, suite), recipe, overrides


def _select_names(request: Request, suite: Suite) -> Selection:
    """Return the request's names; the suite's own are the defaults, its demo's for a bare `run`."""
    own = suite.demo if request.suite is None and suite.demo else suite.default
    return Selection(
        methods=request.methods or own.methods,
        backbones=request.backbones or own.backbones,
        seeds=sorted(set(request.seeds or own.seeds)),
        tasks=request.tasks or own.tasks,
    )


def _apply_recipe_overrides(
    recipe: Recipe, changes: dict[str, Any]
) -> tuple[Recipe, dict[str, Any]]:
    """Return the recipe with its overrides applied, and the overrides left for the methods."""
    own = {k: v for k, v in changes.items() if is_recipe_field(k)}
    if "lr" in own:
        own["lr_of"] = {}  # a learning rate from the command line holds for every method
    changed = override_recipe(recipe, own) if own else recipe
    return changed, {k: v for k, v in changes.items() if not is_shared_field(k)}


def is_shared_field(name: str) -> bool:
    """Return whether an override of that name holds for all methods."""
    return is_recipe_field(name) or is_backbone_field(name)


def _require_views_used(recipe: Recipe, suite: Suite, changes: dict[str, Any]) -> None:
    """Raise `UserError` for an override of another suite's views."""
    own = recipe.views_key(suite.name)
    for name in changes:
        table, _, entry = name.partition(".")
        if table == "views" and entry and entry.partition(".")[0] != own:
            raise UserError(
                f"--set {name} changes nothing of suite {suite.name!r}, whose views in recipe "
                f"{recipe.name!r} are views.{own}"
            )


def require_known_methods(names: Iterable[str]) -> list[str]:
    """Return the names, each once; raises `UserError` for one refused or not registered."""
    distinct = list(dict.fromkeys(names))
    for name in distinct:
        if methods.refusal(name):
            raise UserError(f"{name} is no method here: {methods.refusal(name)}")
        if name not in methods.names():
            raise unknown_name("method", name, methods.names())
    return distinct


def build_method(
    name: str, recipe: Recipe, overrides: dict[str, Any], searched: Mapping[str, Any] = NO_FIELDS
) -> Method:
    """Create a method with the fields of the recipe, the command line and a point, in that order.

    Raises `UserError` for a value that a field cannot have.
    """
    plain = methods.create(name)
    known = {f.name for f in fields(plain)}
    values = recipe.fields_of(name, known) | {k: v for k, v in overrides.items() if k in known}
    values |= searched
    try:
        built = methods.create(name, **_coerce_types(plain, values))
        for field, value in asdict(built).items():
            require_recordable(field, value)
    except Exception as error:  # a plug-in's own checks may raise any kind
        raise UserError(f"{name}: {first_line(error)}") from None
    return built


def _coerce_types(method: Method, values: dict[str, Any]) -> dict[str, Any]:
    """Convert values to their fields' types, as records show them: 8 for a float is 8.0."""
    types = get_type_hints(type(method))
    typed = dict(values)
    for name in values.keys() & types:
        try:  # as JSON: lists serve as tuples, and neither texts nor truth values as numbers
            text = json.dumps(values[name])
            typed[name] = TypeAdapter(types[name]).validate_json(text, strict=True)
        except ValidationError as error:
            shown = shorten(values[name])
            raise ValueError(f"{name}={shown}: {error.errors()[0]['msg']}") from None
    return typed


def require_recordable(field: str, value: Any) -> None:
    """Raise `ValueError` for a value of a method's field that no record can hold."""
    try:
        check_plain(value)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None


def require_overrides_used(
    recipe: Recipe, overrides: dict[str, Any], selected: dict[str, Method]
) -> None:
    """Raise `UserError` for an override that neither the recipe nor any selected method knows."""
    _require_prompt_source_used(overrides, selected)
    known = {PROMPTS_FROM}.union(f.name for method in selected.values() for f in fields(method))
    for name in overrides:
        if name not in known:
            near = suggest_fields(asdict(recipe), name)
            raise unknown_name(
                "field", name, [*near, *BACKBONE_FIELDS] if "." in name else known.union(near)
            )


def _require_prompt_source_used(overrides: dict[str, Any], selected: dict[str, Method]) -> None:
    """Raise `UserError` for a prompt source where no selected method starts from images."""
    used = any(method.starts_from_images for method in selected.values())
    if PROMPTS_FROM in overrides and not used:
        raise UserError(
            f"--set {PROMPTS_FROM}={overrides[PROMPTS_FROM]} needs a method that starts from "
            f"images, such as spt_deep; none of {', '.join(selected)} does"
        )


def prompt_source(suite: Suite, overrides: dict[str, Any]) -> Task | None:
    """Return the task of ``--set prompts_from=TASK``, or None; raises `UserError` if unknown."""
    return suite.find(str(overrides[PROMPTS_FROM])) if PROMPTS_FROM in overrides else None


def prompt_source_of_cell(source: Task | None, task: Task, method: Method) -> Task | None:
    """Return the task whose images a method's prompts start from; None: the cell's own task.

    A cell whose source is its own task is the ordinary cell, and shares its record.
    """
    return source if source and source != task and method.starts_from_images else None


SplitPair = tuple[Split, Split]  # trained on, evaluated on


@dataclass(frozen=True)
class CheckedData:
    """Digest of a task's data, and warnings about them."""

    digest: str  # "<variant>:<training split's>-<evaluation split's>", as recorded
    warnings: tuple[str, ...]
    shifts: dict[str, str] = field(default_factory=dict)  # of each further test set, if scored

    @property
    def train_digest(self) -> str:
        """The digest without the evaluation split's part."""
        return self.digest.rpartition("-")[0]


def require_present(suite: Suite, tasks: list[Task], request: Request) -> None:
    """Raise `UserError` naming all tasks whose data are absent, and where they were looked for."""
    root, variant = request.root, request.variant
    if synthetic.is_synthetic(root) and root.is_dir():
        raise UserError(
            f"--data-root {root} means drawn images, and there is a folder of that name: name it "
            "by its full path, or rename it"
        )
    absent = [task for task in tasks if not locations.is_present(suite, task, root, variant)]
    if absent:
        more = f" and {len(absent) - MAX_NAMED} more" if absent[MAX_NAMED:] else ""
        names = ", ".join(task.name for task in absent[:MAX_NAMED]) + more
        why = locations.explain_missing(suite, absent[0], root, variant)
        if synthetic.is_synthetic(root):
            raise UserError(f"{len(absent)} of {len(tasks)} tasks ({names}) cannot be drawn: {why}")
        if prepared.available_variants(root, suite.name, absent[0]):
            raise UserError(f"{len(absent)} of {len(tasks)} tasks ({names}) cannot be read: {why}")
        raise UserError(
            f"no data for {len(absent)} of {len(tasks)} tasks ({names}): {why}, and so on; name "
            f"their folder with --data-root or $BENCH_DATA. {suite.home}".strip()
        )


def check_data(suite: Suite, task: Task, pair: SplitPair, request: Request) -> CheckedData:
    """Read and check both splits of a task; no other split is opened.

    Raises `UserError` where a split is not listed, or breaks the rules for data.
    """
    root, variant = request.root, request.variant
    place = None if task.embedded else locations.find(suite, task, root, variant)
    if place:
        _require_splits(suite, task, pair, is_prepared=bool(place.variant))
    train, evaluation = (load_split(suite, task, split, root, variant) for split in pair)
    if len(evaluation) > MAX_IMAGES:
        raise UserError(
            f"the split {pair[1]} of {task.name} has {len(evaluation):,} images; {MAX_IMAGES:,} is "
            "the most that a record can be of"
        )
    both = dict(zip(pair, (train, evaluation), strict=True))
    warnings = folder_check.run_warnings(suite, task, place, both, request.suite)
    recompressed = prepared.JPEG75 if variant == prepared.JPEG75 else ""  # a built-in task
    read = place.variant if place else recompressed
    mark = f"{read}:" if read else ""
    folder = place.folder if place else None
    first, second = (checked_digest(part, folder) for part in (train, evaluation))
    digest = f"{mark}{first}-{second}"
    if pair[1] != "test":
        return CheckedData(digest, tuple(warnings))
    trained = shift_check.image_hashes(train, folder)
    found = shift_check.check_shifts(suite, task, trained, root, variant, request.suite)
    return CheckedData(digest, (*warnings, *found.warnings), found.digests)


def _require_splits(suite: Suite, task: Task, pair: SplitPair, is_prepared: bool) -> None:
    """Raise `UserError` where a suite, read from folders as found, has no list for a split.

    Of a task made from lists, as those of ImageNet's few shots, also where these have no val.
    """
    if task.members and "val" in pair and "val" not in task.members:
        raise UserError(
            f"task {task.name!r} of suite {suite.name!r} has no validation images, which trials "
            "need: use --no-tune, or name other tasks"
        )
    absent = [] if is_prepared else [split for split in pair if not suite.lists.get(split)]
    if absent:
        raise UserError(
            f"suite {suite.name!r} has no list of {absent[0]}, which trials need: add it to "
            "the lists of its card, or use --no-tune"
        )
