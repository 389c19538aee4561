"""Records of an earlier schema come over: their numbers stay, their cells get other names.

Schema 1 did not say the number of classes. It is the one with which the method, rebuilt from the
record's own settings, has as many trainable parameters as the record counted; a card is asked only
where a cell has no outcome.
"""

import csv
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

import methods
from bench import backbones, cards
from bench.backbones import Backbone, Input
from bench.cards import RANDOM, BackboneCard
from bench.errors import UserError, first_line
from bench.records import PROMPTS_FROM, SCHEMA, TRIALS, Record, Store, write_atomically

BEFORE = 1  # the schema that is brought over
MAP = "migration.csv"
HEADS = "before,cell,suite,backbone,task,method,seed,accuracy"
# Fields that methods have got since, with the value that computes what all computed before.
ADDED: Mapping[str, Any] = {"replacement": False, "bias": True, "gathered": "concatenated"}
# Fields whose registered value is another now: a record's request names the one that it had.
NAMED = {"fact_tk": {"form": "tucker"}}
_record = TypeAdapter(Record)


@dataclass
class Migration:
    """A results folder on its way; `names` says what cells are called now, by their old names."""

    results: Path
    names: dict[str, str]
    problems: list[str]

    def run(self) -> Iterator[str]:
        """Bring all records over; what was done, in sentences. Goes on where it was stopped."""
        moved = 0
        for root in (self.results / TRIALS, self.results):  # finals name their trials
            store = Store(root)
            for path in store.files():
                try:
                    moved += self._bring(path, store)
                except UserError as error:
                    self.problems.append(str(error))
        self._sort()
        yield f"{moved} records brought over to schema {SCHEMA}, {len(self.problems)} left"

    def _bring(self, path: Path, store: Store) -> bool:
        """Give one record its new name, with what lies beside it, unless it is of this schema."""
        old = _read(path)
        if old["schema"] == SCHEMA:
            return False
        record = self._renewed(path, old)
        self._note(old["cell"], record)
        store.write(record)
        self._move_kept(store, old["cell"], record)
        course = _course(store, path)
        if course.is_dir():
            os.replace(course, _course(store, store.path(record.settings)))
        path.unlink()
        return True

    def _renewed(self, path: Path, old: Mapping[str, Any]) -> Record:
        settings = dict(old["settings"])
        settings["fields"] = {**_added(settings["method"]), **settings["fields"]}
        settings["classes"] = _classes(path, {**old, "settings": settings})
        about = {"request": _request(old), "tuned": self._tuned(old)}
        whole = {**old, **about, "settings": settings, "schema": SCHEMA}
        record = _validated(path, whole)
        return _validated(path, {**whole, "cell": record.settings.digest()})

    def _tuned(self, old: Mapping[str, Any]) -> Any:
        """The trials of a final under their new names."""
        tuned = old.get("tuned")
        if not tuned:
            return tuned
        trials = [{**t, "cell": self.names.get(t["cell"], t["cell"])} for t in tuned["trials"]]
        return {**tuned, "trials": trials}

    def _move_kept(self, store: Store, before: str, record: Record) -> None:
        """Predictions and measures follow their record."""
        predictions = store.root / "predictions" / f"{before}.npz"
        if predictions.is_file():
            os.replace(predictions, store.predictions_path(record.settings))
        measures = store.root / "measures" / before
        for file in sorted(measures.glob("*.json")):
            text = file.read_text().replace(f'"cell": "{before}"', f'"cell": "{record.cell}"', 1)
            write_atomically(store.root / "measures" / record.cell / file.name, text.encode())
            file.unlink()
        with suppress(OSError):
            measures.rmdir()

    def _note(self, before: str, record: Record) -> None:
        """Add to the list of old and new names, at once: finals need it after an interruption."""
        self.names[before], s = record.cell, record.settings
        accuracy = record.outcome.accuracy if record.outcome else ""
        line = (before, record.cell, s.suite, s.backbone, s.task, s.method, s.seed, accuracy)
        path = self.results / MAP
        if not path.is_file():
            write_atomically(path, f"{HEADS}\n".encode())
        with path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(line)

    def _sort(self) -> None:
        """Leave the list with its heads, each cell once, in an order of its own."""
        path = self.results / MAP
        if path.is_file():
            heads, *lines = sorted(set(path.read_text().splitlines()), key=_order)
            write_atomically(path, "\n".join([heads, *lines, ""]).encode())


def _course(store: Store, path: Path) -> Path:
    """Where TensorBoard finds the course of the cell with that record."""
    return store.root / "tensorboard" / path.relative_to(store.root / "records").with_suffix("")


def _order(line: str) -> tuple[bool, list[str], str]:
    """The heads first, then by what a cell is, then by its old name."""
    before, _, *about = line.split(",")
    return line != HEADS, about[:-1], before


def migrate(results: Path, problems: list[str]) -> Iterator[str]:
    """Bring a results folder's records over; what cannot be is noted among `problems` and left."""
    yield from Migration(results, _known(results), problems).run()


def _added(name: str) -> dict[str, Any]:
    """The fields that a method has got since."""
    known = fields(methods.create(name)) if name in methods.names() else ()
    return {field.name: ADDED[field.name] for field in known if field.name in ADDED}


def _request(old: Mapping[str, Any]) -> dict[str, Any]:
    """The request of a record, which asks for the cell that it was."""
    request = old.get("request") or {}
    named = NAMED.get(old["settings"]["method"])
    return {**request, "changes": {**named, **request["changes"]}} if named and request else request


def _known(results: Path) -> dict[str, str]:
    """The new names that an interrupted migration has noted."""
    path = results / MAP
    if not path.is_file():
        return {}
    lines = csv.DictReader(path.read_text().splitlines())
    return {line["before"]: line["cell"] for line in lines}


def _read(path: Path) -> dict[str, Any]:
    """A record's table, whose name is the hash of its settings."""
    try:
        found = json.loads(path.read_bytes())
        if found["schema"] == SCHEMA:
            return dict(found)
        schema, named, cell = found["schema"], digest(found["settings"]), found["cell"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not a record: {first_line(error)}") from None
    if schema != BEFORE:
        raise UserError(f"{path} has schema {schema}; {BEFORE} can be brought over to {SCHEMA}")
    if named != cell:
        raise UserError(f"{path} names cell {cell}, but its settings are another's")
    return dict(found)


def digest(settings: Mapping[str, Any]) -> str:
    """The name of a cell with settings as a record's file says them."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _validated(path: Path, table: Mapping[str, Any]) -> Record:
    try:
        return _record.validate_json(json.dumps(table))
    except ValidationError as error:
        raise UserError(f"{path} is not a record: {error.errors()[0]['msg']}") from None


def _classes(path: Path, old: Mapping[str, Any]) -> int:
    """With how many classes a cell was trained: what its parameters say, or its suite's card."""
    settings, outcome = old["settings"], old["outcome"]
    if not outcome:
        return _on_card(path, old)
    wanted = outcome["method_params"] + outcome["head_params"]
    try:
        few, more = (_counted(settings, classes) for classes in (2, 3))
    except Exception as error:  # a method or a field that is no more, a backbone that is not timm's
        raise UserError(
            f"{path}: the number of its classes cannot be told, for {settings['method']} cannot be "
            f"rebuilt: {first_line(error)}"
        ) from None
    classes, rest = divmod(wanted - few, more - few)  # every count grows alike with each class
    if rest or classes + 2 < 1:
        raise UserError(
            f"{path}: {settings['method']} has {few:,} trainable parameters with 2 classes and "
            f"{more:,} with 3; the record's {wanted:,} fit no number of classes"
        )
    return int(classes) + 2


def _on_card(path: Path, old: Mapping[str, Any]) -> int:
    settings = old["settings"]
    try:
        suite = cards.load_suite(old["request"].get("suite") or settings["suite"])
        return suite.find(settings["task"]).classes
    except UserError as error:
        raise UserError(f"{path}: the number of its classes cannot be told: {error}") from None


def _counted(settings: Mapping[str, Any], classes: int) -> int:
    """The trainable parameters of a cell's model."""
    own = {k: v for k, v in settings["fields"].items() if k != PROMPTS_FROM}
    return _count(settings["method"], json.dumps([own, settings["input"]]), classes)


@cache
def _count(name: str, text: str, classes: int) -> int:
    own, given = map(dict, json.loads(text))
    method = methods.create(name, **own)
    try:
        return _trainable(method, given, classes, "meta")
    except (RuntimeError, NotImplementedError):  # what needs values to be built
        return _trainable(method, given, classes, "cpu")


def _trainable(method: methods.Method, given: Mapping[str, Any], classes: int, on: str) -> int:
    card = BackboneCard(
        name=given["timm"],
        timm=given["timm"],
        weights=RANDOM,
        pooling=given["pooling"],
        input_size=given["size"],
        architecture=given["architecture"],
    )
    wanted = Input(given["size"], tuple(given["mean"]), tuple(given["std"]), given["pooling"])
    with torch.device(on):
        model = backbones.build(Backbone(card, wanted, None, RANDOM), classes)
        model.requires_grad_(False)
        model.get_classifier().requires_grad_(True)
        method.attach(model)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
