"""Hooks of mkdocs: add generated pages, and the files of the repository that pages link to."""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import command_pages
import notebook_pages
import python_pages
import recipe_pages
import record_pages

LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)[^)]*\)")
NOTEBOOK = "how_to/first_comparison.ipynb"


def generated_pages() -> dict[str, str]:
    """Return the Markdown of each generated page, by its path in the site."""
    return {
        "reference/commands.md": command_pages.markdown_page(),
        "reference/recipes.md": recipe_pages.markdown_page(),
        "reference/records.md": record_pages.markdown_page(),
        "reference/python.md": python_pages.markdown_page(),
    }


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add generated pages and linked files."""
    root = Path(config.docs_dir).parent
    for path, text in generated_pages().items():
        files.append(File.generated(config, path, content=text))
    if notebook := files.get_file_from_path(NOTEBOOK):
        text = notebook_pages.markdown_page(notebook.content_string)
        files.append(File.generated(config, as_page(NOTEBOOK), content=text))
    for path in sorted(linked_from(files, root)):
        files.append(File.generated(config, path, abs_src_path=str(root / path)))
    return files


def linked_from(files: Files, root: Path) -> set[str]:
    """Return the files of the repository, outside docs/, that pages link to, and theirs in turn."""
    found: set[str] = set()
    waiting = [
        path.removeprefix("../")
        for file in files.documentation_pages()
        for path in link_targets(file.src_uri, file.content_string)
        if path.startswith("../")
    ]
    while waiting:
        path = waiting.pop()
        if path not in found and (root / path).is_file():
            found.add(path)
            if path.endswith(".md"):
                waiting += link_targets(path, (root / path).read_text(encoding="utf-8"))
    return found


def link_targets(path: str, markdown: str) -> Iterator[str]:
    """Yield the paths that a page links to, from the folder that the page's own path starts in."""
    for target in LINK.findall(markdown):
        yield posixpath.normpath(posixpath.join(posixpath.dirname(path), target))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links out of docs/ lead to the copies in the site, and those to the notebook to its page.

    A page of docs/ reaches the repository's root one folder above docs/, which the site has not.
    """
    up = "../" * page.file.src_uri.count("/")
    if page.file.generated_by:
        return markdown
    return markdown.replace(f"]({up}../", f"]({up}").replace(".ipynb)", ".md)")


def as_page(notebook: str) -> str:
    """Return the path of a notebook's page."""
    return notebook.removesuffix(".ipynb") + ".md"
