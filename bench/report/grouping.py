"""Settings compared: what is alike goes together, what differs gets a name."""

import json
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


def canonical_json(value: Any) -> str:
    """JSON text that is the same for equal values."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def group_by(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """The items by what `key` gives for each."""
    found: dict[K, list[T]] = defaultdict(list)
    for item in items:
        found[key(item)].append(item)
    return dict(found)


def differing_settings(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each table, the entries in which the tables differ.

    >>> differences([{"prompts": 10, "drop": 0.1}, {"prompts": 50, "drop": 0.1}])
    ['prompts=10', 'prompts=50']
    """
    keys = sorted({key for table in tables for key in table})
    differ = [k for k in keys if len({canonical_json([k in t, t.get(k)]) for t in tables}) > 1]
    return [format_settings({k: table[k] for k in differ if k in table}) for table in tables]


def format_settings(table: Mapping[str, Any]) -> str:
    """A table in one line: ``prompts=50, init=mean``."""
    plain = {k: v if isinstance(v, str) else canonical_json(v) for k, v in table.items()}
    return ", ".join(f"{key}={plain[key]}" for key in sorted(plain))
