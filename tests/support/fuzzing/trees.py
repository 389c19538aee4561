"""Trees of JSON or TOML values: mutated at a random place, and written as text with all oddities.

A table is a list of pairs, so that it may hold a key twice; a `Raw` is text as it stands, such as a
number that Python would not write.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st


class Table(list[tuple[str, Any]]):
    """The entries of an object, in order."""


@dataclass(frozen=True)
class Raw:
    """Text that is written as it stands."""

    text: str


Place = tuple[int, ...]  # positions from the root; of a table's entry, among its pairs


def tree_of(value: Any) -> Any:
    """A tree of plain values."""
    if isinstance(value, dict):
        return Table((key, tree_of(below)) for key, below in value.items())
    return [tree_of(below) for below in value] if isinstance(value, list) else value


def plain(tree: Any) -> Any:
    """The values of a tree as a parser that keeps the last of equal keys reads them."""
    if isinstance(tree, Table):
        return {key: plain(below) for key, below in tree}
    return [plain(below) for below in tree] if isinstance(tree, list) else tree


def places(tree: Any, above: Place = ()) -> Iterator[Place]:
    """Every place of a tree but its root."""
    for i, below in enumerate(tree if isinstance(tree, list) else ()):
        yield (*above, i)
        value = below[1] if isinstance(tree, Table) else below
        yield from places(value, (*above, i))


def at(tree: Any, place: Place) -> Any:
    """The value at a place."""
    for i in place:
        tree = tree[i][1] if isinstance(tree, Table) else tree[i]
    return tree


def changed(tree: Any, place: Place, change: Callable[[Any, int], list[Any]]) -> Any:
    """The tree with the items of one list or table changed: `change` of them and the position."""
    first, *rest = place
    if not rest:
        return type(tree)(change(list(tree), first))
    items = list(tree)
    if isinstance(tree, Table):
        key, value = items[first]
        items[first] = (key, changed(value, tuple(rest), change))
    else:
        items[first] = changed(items[first], tuple(rest), change)
    return type(tree)(items)


def _with_value(item: Any, value: Any) -> Any:
    return (item[0], value) if isinstance(item, tuple) else value


@st.composite
def mutated(draw: st.DrawFn, tree: Any, odd: st.SearchStrategy[Any], keys: Any) -> Any:
    """The tree with one to three places dropped, repeated, renamed, replaced or wrapped."""
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        known = list(places(tree))
        if not known:
            break
        place = draw(st.sampled_from(known))
        change = draw(st.sampled_from(_CHANGES))(draw, tree, place, odd, keys)
        tree = changed(tree, place, change)
    return tree


@st.composite
def mutated_alike(draw: st.DrawFn, tree: Any, texts: st.SearchStrategy[str]) -> Any:
    """The tree with one or two numbers, texts or truth values replaced by others of their type."""
    for _ in range(draw(st.integers(1, 2))):
        leaves = [place for place in places(tree) if isinstance(at(tree, place), int | float | str)]
        place = draw(st.sampled_from(leaves))
        value = draw(_alike(at(tree, place), texts))
        tree = changed(tree, place, _replacing(value))
    return tree


def _alike(value: object, texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, str):
        return texts
    near = st.sampled_from((0, 1, 2, 50, 100, 797, 0.5, 99.99, 100.0000001, -1, 1e15))
    if isinstance(value, int):
        return st.one_of(near.map(int), st.integers(-2, 1000), st.just(value + 1))
    return st.one_of(near.map(float), st.floats(0, 100), st.just(value + 1e-9))


def _drop(*_: Any) -> Callable[[Any, int], list[Any]]:
    return lambda items, i: items[:i] + items[i + 1 :]


def _repeat(draw: Any, tree: Any, place: Place, odd: Any, keys: Any) -> Any:
    value = draw(odd)
    return lambda items, i: [*items[: i + 1], _with_value(items[i], value), *items[i + 1 :]]


def _rename(draw: Any, tree: Any, place: Place, odd: Any, keys: Any) -> Any:
    key = draw(keys)
    return lambda items, i: [
        *items[:i],
        (key, items[i][1]) if isinstance(items[i], tuple) else key,
        *items[i + 1 :],
    ]


def _replace(draw: Any, tree: Any, place: Place, odd: Any, keys: Any) -> Any:
    return _replacing(draw(odd))


def _replacing(value: Any) -> Callable[[Any, int], list[Any]]:
    return lambda items, i: [*items[:i], _with_value(items[i], value), *items[i + 1 :]]


def _replace_by_another(draw: Any, tree: Any, place: Place, odd: Any, keys: Any) -> Any:
    return _replacing(at(tree, draw(st.sampled_from(list(places(tree))))))


def _wrap(draw: Any, tree: Any, place: Place, odd: Any, keys: Any) -> Any:
    value = at(tree, place)
    wrappings = [value], Table([("", value)]), [value, value], str(value)
    return _replacing(draw(st.sampled_from(wrappings)))


_CHANGES = (_drop, _repeat, _rename, _replace, _replace, _replace, _replace_by_another, _wrap)


def to_json(tree: Any) -> str:
    """Write a tree as JSON, non-finite numbers and repeated keys included."""
    if isinstance(tree, Raw):
        return tree.text
    if isinstance(tree, Table):
        return "{" + ", ".join(f"{json.dumps(k)}: {to_json(v)}" for k, v in tree) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(to_json, tree)) + "]"
    return json.dumps(tree)


def to_toml(table: Table) -> str:
    """Write a table as TOML, a line for each entry of the top."""
    return "".join(f"{_toml_key(key)} = {_toml_value(value)}\n" for key, value in table)


def _toml_key(key: str) -> str:
    return key if key.isidentifier() and key.isascii() else _toml_text(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, Table):
        return "{ " + ", ".join(f"{_toml_key(k)} = {_toml_value(v)}" for k, v in value) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, str):
        return _toml_text(value)
    return "nan" if value is None else json.dumps(value).replace("Infinity", "inf").lower()


def _toml_text(text: str) -> str:
    """A basic string; what TOML does not allow in one, such as a surrogate, is left to be raw."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
