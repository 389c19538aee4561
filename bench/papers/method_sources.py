"""The papers that each method's file cites: read from the source, for importing it takes torch."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from bench.papers.claims import paper_names
from bench.papers.layouts import Paper, load_layouts

ADDRESS = re.compile(r"https://(?:arxiv\.org/abs/\d{4}\.\d{4,5}|github\.com/[\w.-]+/[\w-]+)")
ARXIV = "https://arxiv.org/abs/"


@dataclass(frozen=True)
class MethodSource:
    """The description and the papers in the docstring of a method's file."""

    text: str  # the first line of its docstring, without addresses
    papers: dict[str, str]  # the address of each paper cited: its title, or its arXiv number


@lru_cache
def method_sources() -> dict[str, MethodSource]:
    """Return the sources by the names under which the project registers its methods.

    A name that is made when the file is imported, such as `spt_deep{suffix}`, has its fixed start
    followed by a star.
    """
    spec = find_spec("methods")  # finds the folder, and does not import it
    folders = spec.submodule_search_locations if spec else None
    titles = {paper.url: paper.title for paper in _papers_with_tables()}
    found = {}
    for path in (p for folder in folders or () for p in sorted(Path(folder).glob("*.py"))):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        source = _source(ast.get_docstring(tree) or "", titles)
        found.update(dict.fromkeys(_registered_names(tree), source))
    return found


def source_of(method: str) -> MethodSource | None:
    """Return the source of a method; None for one that is not the project's own."""
    known = method_sources()
    starts = [name for name in known if name.endswith("*") and method.startswith(name[:-1])]
    return known.get(method) or (known[max(starts, key=len)] if starts else None)


def _papers_with_tables() -> Iterator[Paper]:
    return (load_layouts(name).paper for name in paper_names())


def _source(docstring: str, titles: dict[str, str]) -> MethodSource:
    line = docstring.partition("\n")[0].rstrip(".")
    text = ADDRESS.sub("", line).rstrip(" ,").replace(", ,", ",")
    urls = [url for url in ADDRESS.findall(docstring) if url in line or url.startswith(ARXIV)]
    return MethodSource(text, {url: titles.get(url) or _short_name(url) for url in urls})


def _short_name(url: str) -> str:
    return url.replace(ARXIV, "arXiv ").removeprefix("https://")


def _registered_names(tree: ast.Module) -> Iterator[str]:
    """Yield the first arguments of the calls of `register`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "register":
            name = node.args[0]
            if isinstance(name, ast.Constant):
                yield str(name.value)
            elif isinstance(name, ast.JoinedStr) and isinstance(name.values[0], ast.Constant):
                yield str(name.values[0].value) + "*"
