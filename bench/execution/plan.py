"""Planning: a request becomes cells, all of them checked before the first trains.

The calls in order: `make_plan`, `plan_cells`, `resolve_request`, `ResolvedRequest.build_cell`.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

import torch

import methods
from bench.config import search_space
from bench.config.backbone import canonical_name
from bench.config.recipe import Recipe
from bench.config.suite import Suite, Task
from bench.execution import selection
from bench.execution.request import FINAL_SPLITS, Request, SearchPoint
from bench.execution.selection import CheckedData, SplitPair
from bench.models import backbones, compatibility, compilation
from bench.models.backbones import Backbone
from bench.records import description, measurements, schema, serialising
from bench.records.schema import PROMPTS_FROM, Record, Settings
from bench.records.store import Store
from bench.training import devices, trainer
from bench.training.cell import Cell
from bench.utils.errors import UserError
from methods import Method


@dataclass(frozen=True)
class Plan:
    """The cells of a request, and which of them have a result already."""

    cells: list[Cell]
    done: set[str]  # digests
    device: str

    def pending(self) -> list[Cell]:
        """Return the cells without a result."""
        return [cell for cell in self.cells if cell.settings.digest() not in self.done]


def make_plan(request: Request, store: Store) -> Plan:
    """Plan every cell of the request, and mark those that are done; raises as `plan_cells` does."""
    return look_up(plan_cells(request), store, request.device)


def look_up(cells: list[Cell], store: Store, device: str) -> Plan:
    """Return the plan of cells: done are those with a record and all their measurements."""
    return Plan(cells, {cell.settings.digest() for cell in cells if _has_all(cell, store)}, device)


def _has_all(cell: Cell, store: Store) -> bool:
    record = store.find(cell.settings)
    return is_done(record) and not pending_measurements(record, cell, store)


def pending_measurements(record: Record | None, cell: Cell, store: Store) -> list[str]:
    """Return the measurements that a recorded cell lacks; none where it has no outcome."""
    if record is None or not record.ok:
        return []
    return measurements.missing_measurements(store.root, record.cell, cell.measurements)


def plan_cells(request: Request) -> list[Cell]:
    """Build every cell of the request, in a fixed order whatever the order of the names.

    Raises `UserError` for whatever would keep a cell from running: unknown names, absent data,
    missing weights, a field that a method does not have, or with which it fits none of the
    backbones. A method that fits some, or none even as registered, is left to its cells to refuse.
    """
    at, resolved = request.at, resolve_request(request)
    resolved.check_data(_splits(at))
    selected = {name: resolved.build_method(name, at) for name in resolved.methods}
    if not request.fields_checked:
        for name, method in selected.items():
            compatibility.require_fields_attachable(resolved.backbones.values(), name, [method])
    axes = product(sorted(resolved.backbones), resolved.tasks, sorted(selected), resolved.seeds)
    return unique_cells(resolved.build_cell(*point, at) for point in axes)


def unique_cells(cells: Iterable[Cell]) -> list[Cell]:
    """Return each cell once: a card may have been requested by two names."""
    return list({cell.settings.digest(): cell for cell in cells}.values())


def is_done(record: Record | None) -> bool:
    """Return whether a cell with this record needs no run: it has an outcome or cannot have one.

    A trial whose loss diverged is done, too: that is its answer.
    """
    if record is None or record.failure is None:
        return record is not None
    diverged = record.failure.error == trainer.Diverged.__name__
    return record.failure.kind == "unsupported" or (diverged and schema.is_trial(record.settings))


def wants_tuning(request: Request) -> bool:
    """Return whether trials come before the request's cells.

    Raises `UserError` where they are asked for and the recipe has no grid.
    """
    _, _, recipe, _ = selection.load_cards(request)
    if request.tune and not recipe.grid:
        raise UserError(f"recipe {recipe.name!r} has no grid to tune over; leave out --tune")
    return recipe.tuning.by_default if request.tune is None else request.tune


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
    _methods: dict[str, Method] = field(default_factory=dict, init=False, repr=False)
    _recordable: set[tuple[str, int]] = field(default_factory=set, init=False, repr=False)

    @cached_property
    def backbones(self) -> dict[str, Backbone]:
        """The backbones by their names in the request; raises `UserError` for missing weights."""
        changes = self.request.changes
        return {canonical_name(name): backbones.find(name, changes) for name in self.backbone_names}

    @cached_property
    def precision(self) -> str:
        """The precision that the recipe's means on the request's device."""
        return devices.resolve_precision(self.recipe.precision, torch.device(self.request.device))

    def check_data(self, pair: SplitPair) -> None:
        """Check these splits of every task; raises `UserError` as `selection.check_data` does."""
        for task in self.suite.task:
            if task in self.tasks or task == self.prompt_source:
                self.data(task, pair)

    def data(self, task: Task, pair: SplitPair) -> CheckedData:
        """Return the digest of a task's splits, read and checked once; no other split is opened."""
        key = task.name, pair
        if key not in self._data:
            self._data[key] = selection.check_data(self.suite, task, pair, self.request)
        return self._data[key]

    def forget_data(self) -> None:
        """Have data read again at the next use: they may change while trials run for hours."""
        self._data.clear()

    def build_method(self, name: str, at: SearchPoint | None = None) -> Method:
        """Return a method with the fields that recipe, command line and search point give it."""
        searched = description.method_fields(at.point) if at else {}
        key = json.dumps([name, searched])
        if key not in self._methods:
            self._methods[key] = selection.build_method(
                name, self.recipe, self.method_overrides, searched
            )
        return self._methods[key]

    def build_cell(
        self, card: str, task: Task, name: str, seed: int, at: SearchPoint | None = None
    ) -> Cell:
        """Build the cell of a method; `card` is the backbone as the request names it.

        Raises `UserError` for what no record could hold.
        """
        settings = self._settings(card, task, name, seed, at)
        train_split, eval_split = splits = _splits(at)
        method = self.build_method(name, at)
        request = self._names_of_cell(card, task, settings, at)
        if (card, id(method)) not in self._recordable:  # tasks and seeds differ in names alone
            serialising.require_recordable(settings, request, task.group)
            self._recordable.add((card, id(method)))
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
        backbone, recipe = self.backbones[card], self._recipe_at(at)
        method = self.build_method(name, at)
        source = selection.prompt_source_of_cell(self.prompt_source, task, method)
        return Settings(
            suite=self.suite.name,
            suite_version=self.suite.version,
            task=task.name,
            classes=task.classes,
            split=self.data(task, _splits(at)).digest,
            method=name,
            fields={**asdict(method), **({PROMPTS_FROM: source.name} if source else {})},
            backbone=backbone.card.name,
            weights=backbone.sha256,
            input={**asdict(backbone.input), **_architecture(backbone)},
            recipe=self._protocol(recipe, at),
            rates=recipe.rates(name),
            seed=seed,
            start_split=self.data(source, _splits(at)).train_digest if source else "",
            code=methods.code(name),
        )

    def _recipe_at(self, at: SearchPoint | None) -> Recipe:
        """Return the recipe at a search point; a trial is evaluated after its last epoch alone."""
        if at is None:
            return self.recipe
        recipe = search_space.recipe_at_point(self.recipe, at.point, at.epochs)
        return recipe if at.scored == "test" else replace(recipe, test_evaluations=1)

    def _protocol(self, recipe: Recipe, at: SearchPoint | None) -> dict[str, Any]:
        """Return the part of a cell's recipe that its settings record."""
        where = self.suite.name, self.precision
        if at is None:
            return recipe.protocol(*where)
        if at.scored == "test":
            return search_space.tuned_protocol(self.recipe, *where)
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
    used = [task for task in suite.task if task in tasks or task == source]
    selection.require_present(suite, used, request)
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


def _splits(at: SearchPoint | None) -> SplitPair:
    """Return the splits that a cell is trained and evaluated on."""
    return (at.learnt, at.scored) if at else FINAL_SPLITS


def _select_tasks(suite: Suite, names: list[str]) -> list[Task]:
    selected = {suite.find(name).name for name in names}
    return [task for task in suite.task if not selected or task.name in selected]


def _architecture(backbone: Backbone) -> dict[str, Any]:
    """Return a card's architecture: the hash of random weights does not tell it."""
    return {"timm": backbone.card.timm.split(".")[0], "architecture": backbone.card.architecture}
