"""A request resolved: its cards read, its names checked, and all its cells built from them."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

import methods
from bench.config import search_space
from bench.config.backbone import canonical_name
from bench.config.recipe import Recipe
from bench.config.suite import Suite, Task
from bench.data import published_lists
from bench.execution import selection
from bench.execution.request import FINAL_SPLITS, Request, SearchPoint
from bench.execution.selection import CheckedData, SplitPair
from bench.models import backbones, compilation, identity
from bench.models.backbones import Backbone
from bench.records import description, serialising
from bench.records.schema import PROMPTS_FROM, Settings
from bench.training import devices
from bench.training.cell import Cell
from methods import Method
from methods.shared.hyperparameters import recorded_fields


@dataclass(frozen=True)
class ResolvedRequest:
    """A request with its cards read and its names checked, from which all its cells are built.

    Backbones, methods and data are read at first use, and once.
    """

    request: Request
    suite: Suite
    recipe: Recipe
    method_overrides: dict[str, Any]
    methods: list[str]
    backbone_names: list[str]
    seeds: list[int]
    tasks: list[Task]
    prompt_source: Task | None  # whose images prompts start from, where it is not each cell's own
    _data: dict[tuple[str, SplitPair], CheckedData] = field(
        default_factory=dict, init=False, repr=False
    )
    _made: dict[tuple[object, ...], Any] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def used_tasks(self) -> list[Task]:
        """The tasks whose data are read, in the order of the card."""
        return _used_tasks(self.suite, self.tasks, self.prompt_source)

    @cached_property
    def present_tasks(self) -> list[Task]:
        """The tasks whose data must be there, with the further test sets as tasks."""
        return self.used_tasks + _shift_tasks(self.suite, self.tasks)

    @cached_property
    def backbones(self) -> dict[str, Backbone]:
        """The backbones by their names in the request; raises `UserError` for missing weights."""
        changes = self.request.changes
        found = {canonical_name(n): backbones.find(n, changes) for n in self.backbone_names}
        identity.require_distinct_names(found)
        return found

    def num_cells(self) -> int:
        """Return the number of cells, or of searches a seed."""
        names = len(self.backbone_names) * len(self.methods)
        return names * len(self.tasks) * len(self.seeds)

    def cards(self) -> list[str]:
        """Return the names of the backbones, sorted, and each backbone once: one may have two."""
        found = {}
        for name, one in sorted(self.backbones.items()):
            found[identity.key(one)] = name
        return list(found.values())

    @cached_property
    def precision(self) -> str:
        """The precision that the recipe's means on the request's device."""
        return devices.resolve_precision(self.recipe.precision, torch.device(self.request.device))

    def check_data(self, pair: SplitPair) -> None:
        """Check these splits of every task; raises `UserError` as `selection.check_data` does."""
        for task in self.used_tasks:
            self.data(task, pair)

    def data(self, task: Task, pair: SplitPair) -> CheckedData:
        """Return the digest of a task's splits, read and checked once; no other split is opened."""
        key = task.name, pair
        if key not in self._data:
            self._data[key] = self._check_data(task, pair)
        return self._data[key]

    def _check_data(self, task: Task, pair: SplitPair) -> CheckedData:
        """Check a task's data; built-in tasks that differ in their names alone are looked at once.

        Warnings name the task: where there are any, each task is looked at.
        """
        twin = _content_of_builtin(task), pair
        if twin in self._data:
            return self._data[twin]
        found = selection.check_data(self.suite, task, pair, self.request)
        if task.embedded and not found.warnings:
            self._data[twin] = found
        return found

    def forget_data(self) -> None:
        """Have data read again at the next use: they may change while trials run for hours."""
        self._data.clear()

    def build_method(self, name: str, at: SearchPoint | None = None) -> Method:
        """Return a method with the fields that recipe, command line and search point give it."""
        searched = description.method_fields(at.point) if at else {}
        built: Method = self._once(
            ("method", name, json.dumps(searched) if searched else ""),
            lambda: selection.build_method(name, self.recipe, self.method_overrides, searched),
        )
        return built

    def _once(self, key: tuple[object, ...], make: Callable[[], Any]) -> Any:
        """Return what cells share, made once however many cells a plan has."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def build_cell(
        self, card: str, task: Task, name: str, seed: int, at: SearchPoint | None = None
    ) -> Cell:
        """Build the cell of a method; `card` is the backbone as the request names it.

        Raises `UserError` for what no record could hold.
        """
        settings = self._settings(card, task, name, seed, at)
        train_split, eval_split = splits = splits_of(at)
        method = self.build_method(name, at)
        request = self._names_of_cell(card, task, settings, at)
        self._once(  # tasks and seeds differ in names alone
            ("recordable", card, id(method)),
            lambda: serialising.require_recordable(settings, request, task.group),
        )
        return Cell(
            settings=settings,
            suite=self.suite,
            task=task,
            method=method,
            backbone=self.backbones[card],
            recipe=self._recipe_at(at),
            root=self.request.root,
            variant=self.request.variant,
            request=request,
            prompt_task=selection.prompt_source_of_cell(self.prompt_source, task, method),
            train_split=train_split,
            eval_split=eval_split,
            data_warnings=self.data(task, splits).warnings,
        )

    def _settings(
        self, card: str, task: Task, name: str, seed: int, at: SearchPoint | None
    ) -> Settings:
        """Return everything that can change a cell's numbers, by which it is identified."""
        method = self.build_method(name, at)
        source = selection.prompt_source_of_cell(self.prompt_source, task, method)
        own = self._once(("fields", id(method)), lambda: recorded_fields(method))
        shared = self._once(
            ("shared", card, name, _key(at)), lambda: self._shared_settings(card, name, at)
        )
        return Settings(
            **shared,
            task=task.name,
            classes=task.classes,
            split=self.data(task, splits_of(at)).digest,
            fields={**own, **({PROMPTS_FROM: source.name} if source else {})},
            seed=seed,
            start_split=self.data(source, splits_of(at)).train_digest if source else "",
            shifts=self.data(task, splits_of(at)).shifts,
            few_shot=task.few_shot,
        )

    def _shared_settings(self, card: str, name: str, at: SearchPoint | None) -> dict[str, Any]:
        """Return the settings that the cells of a method share, whatever their task and seed."""
        backbone, recipe = self.backbones[card], self._recipe_at(at)
        return {
            "suite": self.suite.name,
            "suite_version": self.suite.version,
            "method": name,
            "backbone": backbone.card.name,
            "weights": backbone.sha256,
            "input": {**asdict(backbone.input), **identity.describe_model(backbone)},
            "recipe": self._protocol(recipe, name, at),
            "rates": recipe.rates(name),
            "code": methods.code(name),
        }

    def _recipe_at(self, at: SearchPoint | None) -> Recipe:
        """Return the recipe at a search point; a trial is evaluated after its last epoch alone."""
        if at is None:
            return self.recipe
        found: Recipe = self._once(("recipe", _key(at)), lambda: _recipe_at(self.recipe, at))
        return found

    def _protocol(self, recipe: Recipe, method: str, at: SearchPoint | None) -> dict[str, Any]:
        """Return the part of the recipe that the settings of a method's cell record."""
        where = self.suite.name, self.precision
        if at is None:
            return recipe.protocol(*where)
        if at.scored == "test":
            return search_space.tuned_protocol(self.recipe, *where, method)
        return search_space.trial_protocol(recipe, *where, at.scored)

    def _names_of_cell(
        self, card: str, task: Task, settings: Settings, at: SearchPoint | None
    ) -> dict[str, Any]:
        """Return the names that request this one cell, see `request.request_from_json`."""
        known = settings.fields
        changes = self.request.changes.items()
        names = {
            "suite": self.request.suite or self.suite.name,
            "method": settings.method,
            "backbone": card,
            "task": settings.task,
            "seed": settings.seed,
            "recipe": self.request.recipe,
            "changes": {k: v for k, v in changes if k in known or selection.is_shared_field(k)},
            "variant": self.request.variant,
        }
        where = {} if task.embedded else {"data_root": str(self.request.root)}
        plugins = {"plugins": self.request.plugins} if settings.code else {}
        return {**names, **where, **plugins, **({"at": asdict(at)} if at else {})}


def resolve_request(request: Request) -> ResolvedRequest:
    """Read the cards of a request and check its names; no data are read, but they must be there.

    Raises `UserError` as `plan_cells` does.
    """
    resolved = resolve_names(request)
    selection.require_present(resolved.suite, resolved.present_tasks, request)
    return resolved


def resolve_names(request: Request) -> ResolvedRequest:
    """Read the cards of a request and check its names, without requiring that the data are present.

    Raises `UserError` for every other reason for which `resolve_request` does.
    """
    suite, selected, recipe, overrides = selection.load_cards(request)
    selection.require_known_methods(
        [name for named in (recipe.lr_of, recipe.fields) for name in named if name != "all"]
    )
    if recipe.compile:
        compilation.require_compiler(torch.device(request.device))
    names = selection.require_known_methods(selected.methods)
    built = {name: selection.build_method(name, recipe, overrides) for name in names}
    selection.require_overrides_used(recipe, overrides, built)
    tasks = _select_tasks(suite, selected.tasks)
    source = selection.prompt_source(suite, overrides)
    published_lists.require_sound(_used_tasks(suite, tasks, source) + _shift_tasks(suite, tasks))
    return ResolvedRequest(
        request=request,
        suite=suite,
        recipe=recipe,
        method_overrides=overrides,
        methods=names,
        backbone_names=selected.backbones,
        seeds=selected.seeds,
        tasks=tasks,
        prompt_source=source,
    )


def _content_of_builtin(task: Task) -> str:
    """Return what tells a built-in task from others, besides its names; empty for data on disk."""
    about = (v for k, v in vars(task).items() if k not in ("name", "title", "group"))
    return repr(list(about)) if task.embedded else ""


def _recipe_at(recipe: Recipe, at: SearchPoint) -> Recipe:
    there = search_space.recipe_at_point(recipe, at.point, at.epochs)
    return there if at.scored == "test" else replace(there, test_evaluations=1)


def _key(at: SearchPoint | None) -> str:
    return json.dumps(asdict(at), sort_keys=True) if at else ""


def splits_of(at: SearchPoint | None) -> SplitPair:
    """Return the splits that a cell is trained and evaluated on."""
    return (at.learnt, at.scored) if at else FINAL_SPLITS


def _select_tasks(suite: Suite, names: list[str]) -> list[Task]:
    selected = {task.name for name in names for task in suite.find_all(name)}
    return [task for task in suite.task if not selected or task.name in selected]


def _shift_tasks(suite: Suite, tasks: list[Task]) -> list[Task]:
    """Return the further test sets on disk as tasks, each once."""
    every = ((task, shift) for task in tasks for shift in suite.shifts_of(task))
    return list({s.name: s.as_task(task) for task, s in every if not s.drawn}.values())


def _used_tasks(suite: Suite, tasks: list[Task], source: Task | None) -> list[Task]:
    names = {task.name for task in [*tasks, *([source] if source else [])]}
    return [task for task in suite.task if task.name in names]
