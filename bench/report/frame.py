"""The records as a pandas data frame, and settings as text to group them and to name groups."""

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.records import schema
from bench.records.schema import Record, Settings

if TYPE_CHECKING:
    import pandas as pd

FRAME_COLUMNS = (
    *("record", "cell", "ok", "suite", "suite_version", "backbone", "task", "group", "method"),
    *("seed", "split", "classes", "variant", "code", "recipe", "recipe_version"),
    *("board", "trunk", "fixed_fields", "point"),
    *("method_params", "head_params", "init_seconds", "train_seconds", "stored_bytes"),
)
COST_COLUMNS = FRAME_COLUMNS[-5:]


def record_frame(records: Iterable[Record]) -> "pd.DataFrame":
    """Return the records, one per cell, as `FRAME_COLUMNS`, ordered by the names of their cells.

    Settings that are tables are canonical JSON: `board` has all that a table's records share, but
    for the split of each task; `trunk` the backbone's weights, input and precision;
    `fixed_fields` what no trial chose of the method, and `point` what trials chose.
    """
    import pandas as pd  # slow to import: the command line starts without

    rows = [_frame_row(record) for record in sorted(records, key=lambda record: record.cell)]
    made = pd.DataFrame(rows, columns=list(FRAME_COLUMNS))
    return made.astype({"ok": bool, "stored_bytes": float})  # early records have no stored bytes


def _frame_row(record: Record) -> tuple[Any, ...]:
    s, outcome = record.settings, record.outcome
    return (
        *(record, record.cell, record.ok, s.shown_suite, s.suite_version, s.backbone, s.task),
        *(record.group, s.method, s.seed, _data_name(s), s.classes, s.variant, s.code),
        *(str(s.recipe.get("name")), str(s.recipe.get("version"))),
        *(board_key(s), canonical_json([s.weights, s.input, s.recipe.get("precision")])),
        *map(canonical_json, (_fixed_fields(s), _tuned_point(s))),
        *(getattr(outcome, name, math.nan) for name in COST_COLUMNS),
    )


def board_key(s: Settings, ignored: Collection[str] = ()) -> str:
    """Return as canonical JSON what all records of a table share, but for the split of each task.

    Entries of the recipe that are `ignored` may differ, and so may the grids of methods' own.
    """
    recipe = {name: value for name, value in shared_recipe(s).items() if name not in ignored}
    shared = [s.suite, s.suite_version, s.backbone, s.weights, recipe, s.input, s.variant]
    return canonical_json(shared)


def shared_recipe(s: Settings) -> dict[str, Any]:
    """Return the recorded recipe without the grid of the method's own."""
    search = s.recipe.get(schema.TUNING_KEY)
    if not search:
        return s.recipe
    of_all = {name: value for name, value in search.items() if name != schema.OWN_GRIDS_KEY}
    return {**s.recipe, schema.TUNING_KEY: of_all}


def _data_name(s: Settings) -> str:
    """Return the digest of a cell's splits, and a hash of those of its further test sets."""
    if not s.shifts:
        return s.split
    return f"{s.split}+{hashlib.sha256(canonical_json(s.shifts).encode()).hexdigest()[:16]}"


def _fixed_fields(s: Settings) -> dict[str, Any]:
    """Return the fields that no trial chose, a plug-in's code, and a grid of the method's own."""
    searched = schema.searched_fields(s)
    fields = {name: value for name, value in s.fields.items() if name not in searched}
    others = {"code": s.code, "grid": schema.own_grid(s)}
    return {**fields, **{name: value for name, value in others.items() if value}}


def _tuned_point(s: Settings) -> dict[str, Any]:
    """Return the rates, and the fields that trials chose."""
    return {**s.rates, **{name: s.fields.get(name) for name in schema.searched_fields(s)}}


def canonical_json(value: Any) -> str:
    """Return JSON text that is the same for equal values."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def differing_settings(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return, for each table, the entries in which the tables differ.

    >>> differing_settings([{"prompts": 10, "drop": 0.1}, {"prompts": 50, "drop": 0.1}])
    ['prompts=10', 'prompts=50']
    """
    keys = sorted({key for table in tables for key in table})
    differ = [k for k in keys if len({canonical_json([k in t, t.get(k)]) for t in tables}) > 1]
    return [format_settings({k: table[k] for k in differ if k in table}) for table in tables]


def format_settings(table: Mapping[str, Any]) -> str:
    """Return a table in one line: ``prompts=50, init=mean``."""
    plain = {k: v if isinstance(v, str) else canonical_json(v) for k, v in table.items()}
    return ", ".join(f"{key}={plain[key]}" for key in sorted(plain))
