"""The documentation's site: it builds without a warning, and its generated pages are complete."""

import argparse
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import pytest

import bench
from bench.cli.main import command_files, load_command
from bench.cli.parsing import Parser
from bench.config.loading import RECIPES_DIR
from bench.config.recipe import Recipe, Tuning, Views
from bench.records.markers import Real
from bench.utils.files import REPO_ROOT

if not all(map(find_spec, ("mkdocs", "material", "mkdocstrings"))):
    pytest.skip("mkdocs is missing: pip install -e '.[docs]'", allow_module_level=True)

from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

import command_pages
import field_tables
import notebook_pages
import python_pages
import recipe_pages
import record_pages
import site_hooks
import test_documents

LOADED = re.compile(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"?(https?://[^\" >]+)")


def build_site(folder: Path, **changes: object) -> Path:
    """Build as `mkdocs build --strict` does."""
    settings = {"site_dir": str(folder), "strict": True, **changes}
    config = load_config(str(REPO_ROOT / "mkdocs.yml"), **settings)
    config.plugins.on_startup(command="build", dirty=False)
    try:
        build(config)
    finally:
        config.plugins.on_shutdown()
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        return build_site(tmp_path_factory.mktemp("site"))


def test_the_site_has_a_page_for_every_document_and_loads_nothing_from_elsewhere(site: Path):
    documents = [
        path.relative_to(REPO_ROOT / "docs") for path in (REPO_ROOT / "docs").rglob("*.md")
    ]
    for path in documents:
        assert (site / path.with_suffix(".html")).exists(), path
    for path in site.rglob("*.html"):
        assert not LOADED.findall(path.read_text(encoding="utf-8")), path
    assert not (site / "hooks").exists()


def build_one_page(folder: Path, text: str) -> None:
    """Build a site of one page under the settings of ours, without its hooks."""
    (folder / "docs").mkdir()
    (folder / "docs" / "index.md").write_text(f"# A page\n\n{text}\n", encoding="utf-8")
    docs, nav = str(folder / "docs"), [{"Home": "index.md"}]
    build_site(folder / "site", docs_dir=docs, nav=nav, extra_css=[], hooks=[], plugins=[])


@pytest.mark.parametrize("link", ["absent.md", "#absent", "index.md#absent", "/index.md"])
def test_a_broken_link_ends_the_build(tmp_path: Path, link: str):
    with pytest.raises(Abort):
        build_one_page(tmp_path, f"[a link]({link})")


def test_a_link_that_leads_somewhere_does_not_end_the_build(tmp_path: Path):
    build_one_page(tmp_path, "[a link](index.md#a-page)")


@pytest.mark.parametrize(
    ("path", "link", "in_the_site"),
    [
        ("explained/a.md", "../../results/b.md", "../results/b.md"),
        ("index.md", "../results/b.md", "results/b.md"),
        ("explained/a.md", "../how_to/b.md", "../how_to/b.md"),
        ("how_to/a.md", "b.ipynb", "b.md"),
    ],
)
def test_a_link_out_of_the_documents_leads_to_a_copy(path: str, link: str, in_the_site: str):
    page = SimpleNamespace(file=SimpleNamespace(src_uri=path, generated_by=None))
    text = site_hooks.on_page_markdown(f"[a]({link})", page, None, None)
    assert text == f"[a]({in_the_site})"


def option_strings(parser: argparse.ArgumentParser) -> Iterator[str]:
    """All options of a command and of its subcommands."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for own in action.choices.values():
                yield from option_strings(own)


@pytest.mark.parametrize("name", command_files())
def test_the_reference_has_every_option_of_a_command_with_its_help(name: str):
    path = command_files()[name]
    parser = Parser(add_help=False)
    load_command(path).add_options(parser)
    text = command_pages.section(name, path)
    for option in {*option_strings(parser)} - {"-h", "--help", "--debug"}:
        assert re.search(rf"^`.*{option}[ ,`].*\n:   \S", text, re.MULTILINE), option


def test_links_may_lead_to_the_pages_that_are_generated_and_to_no_other():
    pages = {REPO_ROOT / "docs" / path for path in site_hooks.generated_pages()}
    assert pages == test_documents.GENERATED
    assert not any(path.exists() for path in pages)


def test_the_reference_has_every_recipe():
    text = recipe_pages.markdown_page()
    for path in RECIPES_DIR.glob("*.toml"):
        assert f"\n## {path.stem}\n" in text


PARTS = (*record_pages.PARTS, Recipe, Views, Tuning, bench.Request, bench.RunOptions)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_every_field_in_the_reference_has_a_meaning(part: type):
    rows = [line.split(" | ") for line in field_tables.table(part).splitlines()[2:]]
    assert not [row[0] for row in rows if not row[-1].strip(" |")]


def test_the_reference_has_every_name_of_the_package():
    text = python_pages.markdown_page()
    assert re.findall(r"^::: bench\.(\w+)$", text, re.MULTILINE) == [
        name for names in python_pages.SECTIONS.values() for name in names
    ]
    assert sorted(name for names in python_pages.SECTIONS.values() for name in names) == sorted(
        bench.__all__
    )


@dataclass
class Example:
    """A class with comments of all kinds."""

    # above
    one: int
    two: str = "b"  # beside
    three: Annotated[float, Real(0, 100)] | None = None  # within


def test_a_table_of_fields_has_types_bounds_defaults_and_comments():
    assert field_tables.table(Example).splitlines()[2:] == [
        "| `one` | `int` |  | above |",
        "| `two` | `str` | `b` | beside |",
        "| `three` | `float, 0 to 100 or None` | `None` | within |",
    ]


def test_a_notebook_s_page_has_text_code_and_outputs():
    frame = {"output_type": "execute_result", "data": {"text/html": ["<b>1</b>"]}}
    code = {"cell_type": "code", "source": ["1 + 1"]}
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text"]},
        {**code, "outputs": [{"output_type": "stream", "text": ["2\n"]}, frame]},
    ]
    text = notebook_pages.markdown_page(json.dumps({"cells": cells}))
    assert text == "# Title\ntext\n\n```python\n1 + 1\n```\n\n```text\n2\n```\n\n<b>1</b>\n"
