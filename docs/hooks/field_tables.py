"""Tables of a dataclass's fields, from its annotations and the comments beside them."""

import ast
import inspect
import io
import tokenize
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from bench.records.markers import Real, Whole


def table(cls: type) -> str:
    """Return a Markdown table of a dataclass's fields: name, type, default, meaning."""
    types, meanings = get_type_hints(cls, include_extras=True), comments(cls)
    lines = ["| field | type | default | meaning |", "|:--|:--|:--|:--|"]
    for one in fields(cls):
        type_ = type_name(types[one.name])
        cells = [f"`{one.name}`", f"`{type_}`", default(one), meanings[one.name]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


@cache
def comments(cls: type) -> dict[str, str]:
    """Return the comment of each field: those just above it and those on its lines."""
    source = inspect.getsource(cls)
    by_line = dict(comment_lines(source))
    alone = {n for n, line in enumerate(source.splitlines(), 1) if line.lstrip().startswith("#")}
    found = {}
    for node in class_of(source).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            first, last = node.lineno, node.end_lineno or node.lineno
            while first - 1 in alone:
                first -= 1
            words = [by_line[number] for number in range(first, last + 1) if number in by_line]
            found[node.target.id] = sentence(" ".join(words))
    return found


def class_of(source: str) -> ast.ClassDef:
    """Return the class that a source defines."""
    (node,) = ast.parse(source).body
    assert isinstance(node, ast.ClassDef)
    return node


def comment_lines(source: str) -> Iterator[tuple[int, str]]:
    """Yield the comments of a source, each with the number of its line."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")


def sentence(comment: str) -> str:
    """Return a comment as a cell of a table."""
    return comment.replace("<", "&lt;").replace("->", "→")


def default(one: Field[Any]) -> str:
    """Return a field's default as code; empty where it has to be given."""
    if one.default is not MISSING:
        return f"`{one.default}`" if one.default != "" else "empty"
    return "empty" if one.default_factory is not MISSING else ""


def type_name(type_: Any) -> str:
    """Return an annotation as it is read, with the bounds of a number."""
    if get_origin(type_) is Annotated:
        base, *marks = get_args(type_)
        return type_name(base) + "".join(map(bounds, marks))
    if arguments := [a for a in get_args(type_) if a is not Ellipsis]:
        return composed_name(type_, arguments)
    return "None" if type_ is type(None) else getattr(type_, "__name__", str(type_))


def composed_name(type_: Any, arguments: list[Any]) -> str:
    """Return the name of a union, a literal, or a container of other types."""
    name = getattr(get_origin(type_), "__name__", "")
    if name == "Literal":
        return " or ".join(map(repr, arguments))
    inner = [type_name(argument) for argument in arguments]
    return " or ".join(inner) if "Union" in name else f"{name}[{', '.join(inner)}]"


def bounds(mark: Any) -> str:
    """Return the bounds that a mark sets, if it does; empty for others."""
    if not isinstance(mark, Whole | Real) or mark.least is None:
        return ""
    return f" ≥ {mark.least:g}" if mark.most is None else f", {mark.least:g} to {mark.most:g}"
