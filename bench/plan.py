"""What is to be run becomes a list of cells, checked before the first of them trains."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from itertools import product
from pathlib import Path
from typing import Any, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError

import methods
from bench import backbones, cards, cross_task, data, environment, places, stores
from bench.backbones import Backbone
from bench.cards import Recipe, Selection, Suite
from bench.changes import change_recipe, is_of_recipe, near_fields
from bench.cross_task import Source
from bench.errors import UserError, unknown
from bench.records import PROMPTS_FROM, Record, Settings, Store
from bench.runner import Cell
from bench.tasks import Split, Task
from methods import Method

SCORED_SPLITS: tuple[Split, Split] = ("trainval", "test")  # of a final run


@dataclass(frozen=True)
class Request:
    """What the command line asks for; None and empty mean the suite's own choice."""

    suite: str | None = None
    methods: list[str] = field(default_factory=list)
    backbones: list[str] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    recipe: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)  # --set
    root: Path = Path("data")
    variant: str | None = None  # of prepared data; None: lossless, else a folder as found
    device: str = "cpu"


@dataclass(frozen=True)
class Plan:
    """The cells of a request, and which of them have a sound record already."""

    suite: Suite
    cells: list[Cell]
    done: set[str]  # digests
    device: str

    def left(self) -> list[Cell]:
        """The cells without a result."""
        return [cell for cell in self.cells if cell.settings.digest() not in self.done]


@dataclass(frozen=True)
class Protocol:
    """What all cells of a request share."""

    request: Request
    suite: Suite
    recipe: Recipe
    precision: str  # what the device makes of the recipe's
    source: Source | None  # of prompts, where they are another task's

    def cell(
        self,
        card: str,
        backbone: Backbone,
        task: Task,
        split: str,
        name: str,
        method: Method,
        seed: int,
    ) -> Cell:
        """One cell; `card` is the backbone as the request names it, `split` the data's digest."""
        source = cross_task.of_cell(self.source, task, method)
        settings = Settings(
            suite=self.suite.name,
            suite_version=self.suite.version,
            task=task.name,
            split=split,
            method=name,
            fields={**asdict(method), **({PROMPTS_FROM: source.task.name} if source else {})},
            backbone=backbone.card.name,
            weights=backbone.sha256,
            input={**asdict(backbone.input), **_network(backbone)},
            recipe=self.recipe.protocol(self.suite.name, self.precision),
            rates=self.recipe.rates(name),
            seed=seed,
            start_split=source.split if source else "",
        )
        again = self._again(card, settings)
        where = self.request.root, self.request.variant
        parts = settings, self.suite, task, method, backbone, self.recipe
        return Cell(*parts, *where, again, source.task if source else None)

    def _again(self, card: str, settings: Settings) -> dict[str, Any]:
        """The request for one cell alone; where the data lie is left to the machine."""
        has = settings.fields
        changes = self.request.changes.items()
        return {
            "suite": self.request.suite or self.suite.name,
            "method": settings.method,
            "backbone": card,
            "task": settings.task,
            "seed": settings.seed,
            "recipe": self.request.recipe,
            "changes": {k: v for k, v in changes if k in has or is_of_recipe(k)},
            "variant": self.request.variant,
        }


def make(request: Request, store: Store) -> Plan:
    """Every cell of the request, and which of them are done; raises as `cells` does."""
    found = cells(request)
    done = {cell.settings.digest() for cell in found if is_done(store.find(cell.settings))}
    return Plan(found[0].suite, found, done, request.device)


def cells(request: Request) -> list[Cell]:
    """Every cell of the request, in a fixed order whatever the order of the names.

    Raises `UserError` for whatever would keep a cell from running: unknown names, absent data,
    weights that cannot be had, a field that a method does not have.
    """
    suite = cards.load_suite(request.suite or "mini")
    chosen = _selection(request, suite)
    recipe, rest = _changed(cards.load_recipe(request.recipe or suite.recipe), request.changes)
    _require_shown(recipe, suite, request.changes)
    other = cross_task.named(suite, rest)
    adapted = _adapted(chosen.methods, recipe, rest)
    tasks = _tasks(suite, chosen.tasks)
    read = [task for task in suite.task if task in tasks or task == other]
    _require_present(suite, read, request)
    splits = {task.name: _digest(suite, task, request) for task in read}
    source = Source(other, splits[other.name].rpartition("-")[0]) if other else None
    found = {name: backbones.resolve(cards.load_backbone(name)) for name in chosen.backbones}
    for backbone, method in product(found.values(), adapted.values()):
        _require_fit(backbone, method)
    precision = environment.precision(recipe.precision, torch.device(request.device))
    protocol = Protocol(request, suite, recipe, precision, source)
    every = [
        protocol.cell(card, found[card], task, splits[task.name], name, adapted[name], seed)
        for card, task, name, seed in product(sorted(found), tasks, sorted(adapted), chosen.seeds)
    ]
    unique = {cell.settings.digest(): cell for cell in every}  # a card may have come by two names
    return list(unique.values())


def _network(backbone: Backbone) -> dict[str, Any]:
    """What is built, where the card says it: of random weights the hash says nothing."""
    return {"timm": backbone.card.timm.split(".")[0], "architecture": backbone.card.architecture}


def _selection(request: Request, suite: Suite) -> Selection:
    """The request's names, and the suite's own where it is silent: its demo for a bare `run`."""
    own = suite.demo if request.suite is None and suite.demo else suite.default
    return Selection(
        methods=request.methods or own.methods,
        backbones=request.backbones or own.backbones,
        seeds=sorted(set(request.seeds or own.seeds)),
        tasks=request.tasks or own.tasks,
    )


def _changed(recipe: Recipe, changes: dict[str, Any]) -> tuple[Recipe, dict[str, Any]]:
    """The recipe with the changes that are its own, and those left for the methods."""
    mine = {k: v for k, v in changes.items() if is_of_recipe(k)}
    if "lr" in mine:
        mine["lr_of"] = {}  # a learning rate from the command line holds for every method
    changed = change_recipe(recipe, mine) if mine else recipe
    return changed, {k: v for k, v in changes.items() if k not in mine}


def _require_shown(recipe: Recipe, suite: Suite, changes: dict[str, Any]) -> None:
    """Raise `UserError` for a change of views that are another suite's."""
    own = recipe.view_name(suite.name)
    for name in changes:
        table, _, entry = name.partition(".")
        if table == "views" and entry and entry.partition(".")[0] != own:
            raise UserError(
                f"--set {name} changes nothing of suite {suite.name!r}, whose views in recipe "
                f"{recipe.name!r} are views.{own}"
            )


def _adapted(chosen: list[str], recipe: Recipe, changes: dict[str, Any]) -> dict[str, Method]:
    """The chosen methods by name, with the fields that the recipe and the command line change."""
    for named in (recipe.lr_of, recipe.fields):
        known_methods(name for name in named if name != "all")
    adapted = {name: _method(name, recipe, changes) for name in known_methods(chosen)}
    _require_used(recipe, changes, adapted)
    return adapted


def known_methods(chosen: Iterable[str]) -> list[str]:
    """The names, each once; raises `UserError` for one that is refused or not registered."""
    names = list(dict.fromkeys(chosen))
    for name in names:
        if methods.refusal(name):
            raise UserError(f"{name} is no method here: {methods.refusal(name)}")
        if name not in methods.names():
            raise unknown("method", name, methods.names())
    return names


def _method(name: str, recipe: Recipe, changes: dict[str, Any]) -> Method:
    """The method with the fields that the recipe and the command line change."""
    plain = methods.create(name)
    known = {f.name for f in fields(plain)}
    wanted = recipe.fields_of(name, known) | {k: v for k, v in changes.items() if k in known}
    try:
        return methods.create(name, **_typed(plain, wanted))
    except (ValueError, TypeError) as error:
        raise UserError(f"{name}: {error}") from None


def _typed(method: Method, wanted: dict[str, Any]) -> dict[str, Any]:
    """The values as their fields' types have them: 8 for a float is 8.0, in the record as well."""
    types = get_type_hints(type(method))
    typed = dict(wanted)
    for name in wanted.keys() & types:
        try:
            typed[name] = TypeAdapter(types[name]).validate_python(wanted[name])
        except ValidationError as error:
            raise ValueError(f"{name}={wanted[name]}: {error.errors()[0]['msg']}") from None
    return typed


def _require_used(recipe: Recipe, changes: dict[str, Any], adapted: dict[str, Method]) -> None:
    """Raise `UserError` for a change that neither the recipe nor any chosen method knows."""
    cross_task.require_served(changes, adapted)
    has = {PROMPTS_FROM}.union(f.name for method in adapted.values() for f in fields(method))
    for name in changes:
        if name not in has:
            near = near_fields(asdict(recipe), name)
            raise unknown("field", name, near if "." in name else has.union(near))


def _tasks(suite: Suite, chosen: list[str]) -> list[Task]:
    wanted = {suite.find(name).name for name in chosen}
    return [task for task in suite.task if not wanted or task.name in wanted]


def _require_present(suite: Suite, tasks: list[Task], request: Request) -> None:
    """Raise `UserError` naming all tasks whose data are absent, and where they were looked for."""
    root, variant = request.root, request.variant
    absent = [task for task in tasks if not places.is_present(suite, task, root, variant)]
    if absent:
        names = ", ".join(task.name for task in absent)
        why = places.absence(suite, absent[0], root, variant)
        if stores.variants(root, suite.name, absent[0]):
            raise UserError(f"{len(absent)} of {len(tasks)} tasks ({names}) cannot be read: {why}")
        raise UserError(
            f"no data for {len(absent)} of {len(tasks)} tasks ({names}): {why}, and so on; name "
            f"their folder with --data-root or $BENCH_DATA. {suite.home}".strip()
        )


def _digest(suite: Suite, task: Task, request: Request) -> str:
    """What stands for the task's data, read and checked, and for the variant that they are in."""
    root, variant = request.root, request.variant
    train, test = (data.read(suite, task, split, root, variant) for split in SCORED_SPLITS)
    data.require_images(train)
    place = None if task.embedded else places.find(suite, task, root, variant)
    mark = f"{place.variant}:" if place and place.variant else ""
    return f"{mark}{data.digest(train)}-{data.digest(test)}"


def _require_fit(backbone: Backbone, method: Method) -> None:
    """Attach on the meta device: a field out of range shows before any compute.

    What a backbone does not allow, and what else fails, is its cell's to record.
    """
    with torch.device("meta"):
        model = backbones.build(backbone, classes=2)
        try:
            method.attach(model.requires_grad_(False))
        except ValueError as error:
            raise UserError(f"{type(method).__name__} on {backbone.card.name}: {error}") from None
        except Exception:
            return


def is_done(record: Record | None) -> bool:
    """Whether a cell with this record has an outcome, or is known not to be possible."""
    if record is None:
        return False
    return record.ok or (record.failure is not None and record.failure.kind == "unsupported")
