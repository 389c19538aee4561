"""Records that strangers could send: one that is sound, and mutations of real and made-up ones."""

import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from bench.data import builtin_tasks
from bench.records.schema import LEFT_OUT_IF_EMPTY, SCHEMA_VERSION, Settings
from bench.records.store import Predictions
from bench.utils.files import REPO_ROOT
from support import made_up_records, synthetic_records
from support.fuzzing import odd, predictions
from support.fuzzing.trees import Raw, Table, mutated, mutated_alike, plain, to_json, tree_of

COMMITTED = REPO_ROOT / "results" / "records"
SOUND = "mini/vit_mini_mae/digits/adapter-seed0-*.json"  # a task that comes with the project
SOUND_ACCURACY = 600  # of its test images are predicted rightly
EVERY = 97  # that many of the committed records is a base
_settings = TypeAdapter(Settings)


@dataclass(frozen=True)
class Sent:
    """A file below ``records/``, and what lies where its predictions would."""

    place: str
    content: bytes | str  # text: one of `odd.FILE_KINDS`
    cell: str
    predictions: bytes | str | None = None

    def write(self, folder: Path, outside: Path) -> Path | None:
        """Write it into a results folder; return its path, or None if it cannot be one."""
        path = folder / "records" / self.place
        try:
            odd.put(path, self.content, outside)
            if self.predictions is not None:
                odd.put(folder / "predictions" / f"{self.cell}.npz", self.predictions, outside)
        except (OSError, ValueError):  # a name that no file can have
            return None
        return path


@cache
def sound() -> Sent:
    """A record whose predictions give its accuracy."""
    table = json.loads(next(iter(sorted(COMMITTED.glob(SOUND)))).read_text(encoding="utf-8"))
    labels = np.asarray(builtin_tasks.digits()["test"].labels).astype(np.int16)
    classes = labels.copy()
    classes[SOUND_ACCURACY:] = (classes[SOUND_ACCURACY:] + 1) % 10
    kept = Predictions(classes, labels)
    accuracy = 100 * SOUND_ACCURACY / len(labels)
    scores = {"accuracy": accuracy, "best_epoch_accuracy": accuracy, "best_epoch": 10}
    scores |= {"test_accuracies": {"10": accuracy}, "predictions": kept.sha256()}
    table["outcome"] |= scores
    return Sent(_place(table, table["cell"]), _text(table), table["cell"], kept.to_bytes())


def sound_table() -> dict[str, Any]:
    """The sound record's values."""
    content = sound().content
    assert isinstance(content, bytes)
    found: dict[str, Any] = json.loads(content)
    return found


@cache
def bases() -> list[dict[str, Any]]:
    """Valid records of all kinds: committed, tuned, failed, made up, without a suite here."""
    committed = sorted(COMMITTED.rglob("*.json"))
    trials = sorted((COMMITTED.parent / "trials").rglob("*.json"))
    chosen = [*committed[::EVERY], *trials[:1], *_with(committed, b'"tuned": {')]
    tables = [json.loads(path.read_text(encoding="utf-8")) for path in chosen]
    made_up = [*made_up_records.forty()[::7], *synthetic_records.records()[::150]]
    made_up += [made_up_records.make("full", "digits", 0, "failed")]
    tables += [asdict(one) | {"settings": one.settings.to_json()} for one in made_up]
    return [sound_table(), *tables]


def _with(paths: list[Path], text: bytes) -> list[Path]:
    return [path for path in paths if text in path.read_bytes()][:2]


def sent() -> st.SearchStrategy[Sent]:
    """Records with something odd about them."""
    bases()  # before anything is drawn: making them takes random numbers
    return st.one_of(_broken(), _plausible())


@st.composite
def _broken(draw: st.DrawFn) -> Sent:
    """A record that mostly breaks the schema, as a file of any kind, in any place."""
    table = draw(st.sampled_from(bases()))
    tree = draw(mutated(tree_of(table), odd.json_values, odd.json_names))
    if draw(st.integers(0, 3)):  # forged with care
        tree = _with_own_digest(tree)
    values = plain(tree)
    cell = str(values.get("cell") if isinstance(values, dict) else "x")
    content = to_json(tree).encode("utf-8", "surrogatepass")
    files = st.one_of(st.just(content), odd.damaged(odd.Content(content)), odd.file_kinds)
    place = _place(values, cell) if draw(st.integers(0, 4)) else draw(_other_places)
    beside = st.one_of(st.none(), st.just(sound().predictions), odd.file_kinds)
    return Sent(place, draw(files), _safe(cell), draw(beside))


@st.composite
def _plausible(draw: st.DrawFn) -> Sent:
    """A record that keeps to the schema, in its place, beside predictions that mostly fit."""
    table = draw(st.one_of(st.just(sound_table()), st.sampled_from(bases())))
    tree = _with_own_digest(draw(mutated_alike(tree_of(table), odd.json_names)))
    values = plain(tree)
    content = to_json(tree).encode("utf-8", "surrogatepass")
    files = st.one_of(st.just(sound().predictions), predictions.odd_files(sound()), st.none())
    return Sent(_place(values, values["cell"]), content, _safe(values["cell"]), draw(files))


_other_places = st.sampled_from(
    ("x.json", "records/x.json", "-.json", ".json", "..json", "\x1b[31m.json", "a\nb.json")
)


def _with_own_digest(tree: Any) -> Any:
    """The tree with the cell's name that its settings give, if they are ones."""
    values = plain(tree)
    settings = values.get("settings") if isinstance(values, dict) else None
    if not isinstance(settings, dict):
        return tree
    cell = _digest(settings)
    return Table((key, cell if key == "cell" else value) for key, value in tree)


def _digest(settings: dict[str, Any]) -> str:
    try:
        return _settings.validate_json(to_json(tree_of(settings))).digest()
    except (ValidationError, ValueError, RecursionError):
        pass
    kept = {k: v for k, v in settings.items() if v or k not in LEFT_OUT_IF_EMPTY}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), default=_raw)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _raw(value: object) -> str:
    return value.text if isinstance(value, Raw) else repr(value)


def _text(table: dict[str, Any]) -> bytes:
    return json.dumps(table, indent=1, sort_keys=True).encode() + b"\n"


def _place(values: Any, cell: str) -> str:
    """Where the store would keep the record, as far as its names can be those of files."""
    settings = values.get("settings") if isinstance(values, dict) else None
    s = settings if isinstance(settings, dict) else {}
    parts = [_safe(s.get(name, "none")) for name in ("suite", "backbone", "task")]
    name = f"{s.get('method')}-seed{s.get('seed')}-{cell}.json"
    return "/".join((*parts, name.replace("\0", "0")))


def _safe(name: object) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in str(name)) or "-"


def beside() -> dict[str, dict[str, Any]]:
    """Valid JSON files beside the sound record, by their paths in a results folder."""
    cell, columns = sound().cell, ["epoch", "seconds", "loss", "test_accuracy"]
    rows = [[0, 0.0, None, None], [1, 2.5, 1.25, None], [2, 5.0, 0.75, 50.0]]
    measure = {"cell": cell, "measurement": "convergence", "accuracy": 75.0, "images": 0}
    lease = {"host": platform.node(), "pid": 1, "cell": "digits", "epoch": 2, "epochs": 10}
    return {
        f"measures/{cell}/convergence.json": {**measure, "columns": columns, "rows": rows},
        f".leases/{cell}.json": lease,
    }


FOLDERS = ("records", "predictions", "measures", ".leases", "trials", "studies", "papers")
TABLES = (
    "tuning.csv",
    "cost.csv",
    "claims.csv",
    "leaderboard.csv",
    "statistics.md",
    "migration.csv",
)


@st.composite
def odd_files_beside(draw: st.DrawFn) -> tuple[str, bytes | str]:
    """The path in a results folder of an odd file other than a record, and what is in it."""
    kind = draw(st.sampled_from(("json", "json", "table", "folder")))
    if kind == "folder":
        return draw(st.sampled_from(FOLDERS)), draw(odd.file_kinds)
    if kind == "table":
        path = draw(st.sampled_from(TABLES))
        committed = COMMITTED.parent / path
        content = committed.read_bytes() if committed.is_file() else b"a,b\n1,2\n"
        return path, draw(st.one_of(odd.damaged(odd.Content(content)), odd.file_kinds))
    path, table = draw(st.sampled_from(sorted(beside().items())))
    tree = draw(mutated(tree_of(table), odd.json_values, odd.json_names))
    content = to_json(tree).encode("utf-8", "surrogatepass")
    files = st.one_of(st.just(content), odd.damaged(odd.Content(content)), odd.file_kinds)
    return path, draw(files)


def of_schema_1(table: dict[str, Any]) -> dict[str, Any]:
    """A record as an earlier version wrote it."""
    settings = {k: v for k, v in table["settings"].items() if k not in ("classes", "code")}
    return table | {"settings": settings, "schema": SCHEMA_VERSION - 1}
