"""What is to be run becomes a list of cells, checked before the first of them trains."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch

import methods
from bench.config import search_space
from bench.config.backbone import canonical_name
from bench.config.overrides import is_backbone_field, is_recipe_field, override_recipe
from bench.config.recipe import Recipe, load_recipe
from bench.config.suite import Selection, Split, Suite, Task, load_suite
from bench.data import locations, prepared
from bench.data.splits import Examples, fingerprint, load_split, require_images
from bench.execution import method_overrides, prompt_source
from bench.execution.prompt_source import PromptSource
from bench.execution.request import FINAL_SPLITS, Request, SearchPoint
from bench.models import backbones, compatibility, compilation
from bench.models.backbones import Backbone
from bench.prepare import folder_check
from bench.records import trials
from bench.records.schema import PROMPTS_FROM, Record, Settings
from bench.records.store import Store
from bench.training import devices, trainer
from bench.training.cell import Cell
from bench.utils import files
from bench.utils.errors import UserError
from methods import Method


@dataclass(frozen=True)
class Plan:
    """The cells of a request, and which of them have a sound record already."""

    suite: Suite
    cells: list[Cell]
    done: set[str]  # digests
    device: str

    def pending(self) -> list[Cell]:
        """The cells without a result."""
        return [cell for cell in self.cells if cell.settings.digest() not in self.done]


@dataclass(frozen=True)
class ResolvedRequest:
    """What the cells of a request have in common, read and checked."""

    request: Request
    suite: Suite
    recipe: Recipe
    method_changes: dict[str, Any]  # of the methods' fields
    precision: str  # what the device makes of the recipe's
    methods: list[str]
    seeds: list[int]
    tasks: list[Task]
    data_digests: dict[str, str]  # task -> the data's digest
    data_warnings: dict[str, tuple[str, ...]]  # task -> what its data are warned of
    backbones: dict[str, Backbone]  # by the names that the request has for them
    prompt_source: PromptSource | None  # of prompts, where they are another task's

    def build_method(self, name: str, at: SearchPoint | None = None) -> Method:
        """A method with the fields that the recipe, the command line and a point change."""
        own = {k: v for k, v in at.point.items() if k not in trials.RATE_NAMES} if at else {}
        return method_overrides.build_method(name, self.recipe, self.method_changes, own)

    def build_cell(
        self,
        card: str,
        task: Task,
        name: str,
        method: Method,
        seed: int,
        at: SearchPoint | None = None,
    ) -> Cell:
        """One cell; `card` is the backbone as the request names it."""
        backbone, recipe = self.backbones[card], self.recipe
        if at:
            recipe = search_space.recipe_at_point(recipe, at.point, at.epochs)
        if at and at.scored != "test":
            recipe = replace(recipe, test_evaluations=1)
        source = prompt_source.prompt_source_of_cell(self.prompt_source, task, method)
        settings = Settings(
            suite=self.suite.name,
            suite_version=self.suite.version,
            task=task.name,
            classes=task.classes,
            split=self.data_digests[task.name],
            method=name,
            fields={**asdict(method), **({PROMPTS_FROM: source.task.name} if source else {})},
            backbone=backbone.card.name,
            weights=backbone.sha256,
            input={**asdict(backbone.input), **_architecture(backbone)},
            recipe=self._protocol(recipe, at),
            rates=recipe.rates(name),
            seed=seed,
            start_split=source.split if source else "",
            code=methods.code(name),
        )
        return Cell(
            settings=settings,
            suite=self.suite,
            task=task,
            method=method,
            backbone=backbone,
            recipe=recipe,
            root=self.request.root,
            variant=self.request.variant,
            request=self._request_json(card, task, settings, at),
            prompt_task=source.task if source else None,
            train_split=at.learnt if at else "trainval",
            eval_split=at.scored if at else "test",
            data_warnings=self.data_warnings[task.name],
        )

    def _protocol(self, recipe: Recipe, at: SearchPoint | None) -> dict[str, Any]:
        """What of the recipe, as changed for a cell, stands in the cell's settings."""
        where = self.suite.name, self.precision
        if at is None:
            return recipe.protocol(*where)
        if at.scored == "test":
            return search_space.tuned_protocol(self.recipe, *where)
        return search_space.trial_protocol(recipe, *where, at.scored)

    def _request_json(
        self, card: str, task: Task, settings: Settings, at: SearchPoint | None
    ) -> dict[str, Any]:
        """The request for one cell alone."""
        has = settings.fields
        changes = self.request.changes.items()
        names = {
            "suite": self.request.suite or self.suite.name,
            "method": settings.method,
            "backbone": card,
            "task": settings.task,
            "seed": settings.seed,
            "recipe": self.request.recipe,
            "changes": {k: v for k, v in changes if k in has or _is_shared_field(k)},
            "variant": self.request.variant,
        }
        where = {} if task.embedded else {"data_root": str(self.request.root)}
        plugins = {"plugins": self.request.plugins} if settings.code else {}
        return {**names, **where, **plugins, **({"at": asdict(at)} if at else {})}


def make_plan(request: Request, store: Store) -> Plan:
    """Every cell of the request, and which of them are done; raises as `cells` does."""
    found = plan_cells(request)
    done = {cell.settings.digest() for cell in found if is_done(store.find(cell.settings))}
    return Plan(found[0].suite, found, done, request.device)


def plan_cells(request: Request) -> list[Cell]:
    """Every cell of the request, in a fixed order whatever the order of the names.

    Raises `UserError` for whatever would keep a cell from running: unknown names, absent data,
    weights that cannot be had, a field that a method does not have, or with which it fits none of
    the backbones. A method that fits some, or none even as registered, is its cells' matter.
    """
    at = request.at
    found = resolve_request(request, (at.learnt, at.scored) if at else FINAL_SPLITS)
    adapted = {name: found.build_method(name, at) for name in found.methods}
    if not request.fields_checked:
        for name, method in adapted.items():
            compatibility.require_fields_attachable(found.backbones.values(), name, [method])
    every = product(sorted(found.backbones), found.tasks, sorted(adapted), found.seeds)
    return unique_cells(
        found.build_cell(card, task, name, adapted[name], seed, at)
        for card, task, name, seed in every
    )


def unique_cells(made: Iterable[Cell]) -> list[Cell]:
    """Each cell once: a card may have come by two names."""
    return list({cell.settings.digest(): cell for cell in made}.values())


def resolve_request(request: Request, splits: tuple[Split, Split]) -> ResolvedRequest:
    """What the cells of a request share that learn and score these splits; no other is read.

    Raises as `cells` does.
    """
    suite, chosen, recipe, rest = _load_cards(request)
    method_overrides.require_known_methods(
        [name for named in (recipe.lr_of, recipe.fields) for name in named if name != "all"]
    )
    if recipe.compile:
        compilation.require_compiler(torch.device(request.device))
    names = method_overrides.require_known_methods(chosen.methods)
    plain = {name: method_overrides.build_method(name, recipe, rest) for name in names}
    method_overrides.require_overrides_used(recipe, rest, plain)
    tasks, other = _select_tasks(suite, chosen.tasks), prompt_source.prompt_source_task(suite, rest)
    read = [task for task in suite.task if task in tasks or task == other]
    _require_data(suite, read, request)
    _require_split_lists(suite, read, request, splits)
    found = {task.name: _check_data(suite, task, request, splits) for task in read}
    digests = {name: digest for name, (digest, _) in found.items()}
    return ResolvedRequest(
        request=request,
        suite=suite,
        recipe=recipe,
        method_changes=rest,
        precision=devices.resolve_precision(recipe.precision, torch.device(request.device)),
        methods=names,
        seeds=chosen.seeds,
        tasks=tasks,
        data_digests=digests,
        data_warnings={name: tuple(said) for name, (_, said) in found.items()},
        backbones={
            canonical_name(name): backbones.find(name, request.changes) for name in chosen.backbones
        },
        prompt_source=PromptSource(other, digests[other.name].rpartition("-")[0])
        if other
        else None,
    )


def wants_tuning(request: Request) -> bool:
    """Whether the request's finals are to be tuned; raises `UserError` where they cannot be."""
    _, _, recipe, _ = _load_cards(request)
    if request.tune and not recipe.grid:
        raise UserError(f"recipe {recipe.name!r} has no grid to tune over; leave out --tune")
    return recipe.tuning.by_default if request.tune is None else request.tune


def _load_cards(request: Request) -> tuple[Suite, Selection, Recipe, dict[str, Any]]:
    """The suite, what is run of it, the recipe with its changes, and the methods' changes."""
    suite = load_suite(request.suite or "mini")
    recipe, rest = _apply_recipe_overrides(
        load_recipe(request.recipe or suite.recipe), request.changes
    )
    _require_views_used(recipe, suite, request.changes)
    return suite, _select_names(request, suite), recipe, rest


def _is_shared_field(name: str) -> bool:
    """Whether a change of that name is one for all methods."""
    return is_recipe_field(name) or is_backbone_field(name)


def _architecture(backbone: Backbone) -> dict[str, Any]:
    """What is built, where the card says it: of random weights the hash says nothing."""
    return {"timm": backbone.card.timm.split(".")[0], "architecture": backbone.card.architecture}


def _select_names(request: Request, suite: Suite) -> Selection:
    """The request's names, and the suite's own where it is silent: its demo for a bare `run`."""
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
    """The recipe with the changes that are its own, and those left for the methods."""
    mine = {k: v for k, v in changes.items() if is_recipe_field(k)}
    if "lr" in mine:
        mine["lr_of"] = {}  # a learning rate from the command line holds for every method
    changed = override_recipe(recipe, mine) if mine else recipe
    return changed, {k: v for k, v in changes.items() if not _is_shared_field(k)}


def _require_views_used(recipe: Recipe, suite: Suite, changes: dict[str, Any]) -> None:
    """Raise `UserError` for a change of views that are another suite's."""
    own = recipe.views_key(suite.name)
    for name in changes:
        table, _, entry = name.partition(".")
        if table == "views" and entry and entry.partition(".")[0] != own:
            raise UserError(
                f"--set {name} changes nothing of suite {suite.name!r}, whose views in recipe "
                f"{recipe.name!r} are views.{own}"
            )


def _select_tasks(suite: Suite, chosen: list[str]) -> list[Task]:
    wanted = {suite.find(name).name for name in chosen}
    return [task for task in suite.task if not wanted or task.name in wanted]


def _require_data(suite: Suite, tasks: list[Task], request: Request) -> None:
    """Raise `UserError` naming all tasks whose data are absent, and where they were looked for."""
    root, variant = request.root, request.variant
    absent = [task for task in tasks if not locations.is_present(suite, task, root, variant)]
    if absent:
        names = ", ".join(task.name for task in absent)
        why = locations.explain_missing(suite, absent[0], root, variant)
        if prepared.available_variants(root, suite.name, absent[0]):
            raise UserError(f"{len(absent)} of {len(tasks)} tasks ({names}) cannot be read: {why}")
        raise UserError(
            f"no data for {len(absent)} of {len(tasks)} tasks ({names}): {why}, and so on; name "
            f"their folder with --data-root or $BENCH_DATA. {suite.home}".strip()
        )


def _require_split_lists(
    suite: Suite, tasks: list[Task], request: Request, splits: tuple[Split, Split]
) -> None:
    """Raise `UserError` where folders as found have no list for a split."""
    absent = [split for split in splits if not suite.lists.get(split)]
    for task in tasks:
        if absent and not (task.embedded or _data_variant(suite, task, request)):
            raise UserError(
                f"suite {suite.name!r} has no list of {absent[0]}, which trials need: add it to "
                "the lists of its card, or say --no-tune"
            )


def _data_variant(suite: Suite, task: Task, request: Request) -> str:
    """Of the data that are not embedded; empty: as found."""
    return locations.find(suite, task, request.root, request.variant).variant


def _check_data(
    suite: Suite, task: Task, request: Request, splits: tuple[Split, Split]
) -> tuple[str, list[str]]:
    """What stands for the task's data and their variant, and what is odd; read and checked."""
    root, variant = request.root, request.variant
    learnt, scored = (load_split(suite, task, split, root, variant) for split in splits)
    place = None if task.embedded else locations.find(suite, task, root, variant)
    both = dict(zip(splits, (learnt, scored), strict=True))
    said = folder_check.run_warnings(suite, task, place, both, request.suite)
    mark = f"{place.variant}:" if place and place.variant else ""
    folder = place.folder if place else None
    return f"{mark}{_split_digest(learnt, folder)}-{_split_digest(scored, folder)}", said


def _split_digest(examples: Examples, folder: Path | None) -> str:
    """What stands for a split's data, whose images were looked into before compute."""
    found = fingerprint(examples, folder)
    files.run_once("images", found, lambda: require_images(examples))
    return found


def is_done(record: Record | None) -> bool:
    """Whether a cell with this record has an outcome, or is known not to be possible.

    That its loss diverged is a trial's answer, too.
    """
    if record is None or record.failure is None:
        return record is not None
    diverged = record.failure.error == trainer.Diverged.__name__
    return record.failure.kind == "unsupported" or (diverged and trials.is_trial(record.settings))
