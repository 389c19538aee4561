"""Archives, prepared folders and copies: what is odd in them is a sentence; none is extracted."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.prepared import CARD_FILE, MANIFEST_FILE
from support import small_suite
from support.fuzzing import archives, cards, commands, counts, odd, sources
from support.fuzzing.profiles import examples
from support.fuzzing.sandbox import Sandbox
from support.fuzzing.trees import mutated, to_json, tree_of

COPIES = ("--suite", "cards/suite.toml", *cards.ON_DISK)


def import_copy(sandbox: Sandbox, name: str) -> commands.Ended:
    """Bring in a copy that lies in the command's folder; links in it are the user's."""
    path, data = sandbox.work / name, sandbox.cards / "data"
    has_links = any(one.is_symlink() for one in (path, *path.rglob("*")))
    words = ("data", "import", name, *COPIES)
    return commands.run(sandbox, *words, named=[data], names_paths=has_links)


@pytest.mark.parametrize("kind", ["zip", "tar"])
@given(st.data())
@examples(short=15, long=900)
def test_a_copy_with_an_odd_table_of_contents_is_read_or_refused(sandboxes, template, kind, data):
    members = archives.read_zip(template / "copy.zip")
    content = data.draw(archives.odd_archive(kind, members))
    counts.add("archives")
    with cards.sandbox_of(template, sandboxes) as sandbox:
        odd.put(sandbox.work / f"vtab.{kind}", content, sandbox.outside)
        import_copy(sandbox, f"vtab.{kind}")


@given(archives.odd_bombs())
@examples(short=2, long=10)
def test_an_archive_that_swells_is_refused_in_time_and_memory(sandboxes, template, content):
    counts.add("archives")
    with cards.sandbox_of(template, sandboxes) as sandbox:
        odd.put(sandbox.work / "vtab.zip", content, sandbox.outside)
        assert import_copy(sandbox, "vtab.zip").status != 0


@given(st.data(), st.lists(odd.file_kinds, min_size=1, max_size=2))
@examples(short=10, long=500)
def test_a_folder_with_odd_files_is_read_or_refused(sandboxes, template, data, kinds):
    files = sorted(path.relative_to(template) for path in (template / "copy").rglob("*.*"))
    counts.add("folders")
    chosen = data.draw(st.lists(st.sampled_from(files), min_size=2, max_size=2, unique=True))
    with cards.sandbox_of(template, sandboxes) as sandbox:
        for path, kind in zip(chosen, kinds, strict=False):
            odd.put(sandbox.work / path, kind, sandbox.outside)
        import_copy(sandbox, "copy")


@given(st.data(), st.booleans(), st.sampled_from(("check", "check --deep", "status", "run")))
@examples(short=15, long=900)
def test_a_prepared_folder_with_odd_files_is_read_or_refused(
    sandboxes, imported, data, is_forged, command
):
    counts.add("prepared folders")
    with cards.sandbox_of(imported, sandboxes) as sandbox:
        folder = next((sandbox.cards / "data" / "prepared").rglob(CARD_FILE)).parent
        path = data.draw(st.sampled_from(sorted(folder.iterdir())))
        content = data.draw(odd_prepared_file(path))
        odd.put(path, content, sandbox.outside)
        if is_forged and isinstance(content, bytes):
            hash_again(folder)
        options = cards.DRY[:-2] if command == "run" else ()
        words = command.split() if command == "run" else ["data", *command.split()]
        words += [*options, *COPIES]
        commands.run(sandbox, *words, named=[sandbox.results], names_paths=odd.is_link(content))


def odd_prepared_file(path: Path) -> st.SearchStrategy[bytes | str]:
    content = odd.Content(path.read_bytes())
    strategies = [odd.damaged(content), odd.file_kinds]
    if path.name == CARD_FILE:
        tree = mutated(tree_of(json.loads(content)), odd.json_values, odd.json_names)
        strategies.append(tree.map(lambda t: to_json(t).encode("utf-8", "surrogatepass")))
    if path.suffix == ".tsv":
        strategies.append(sources.odd_table(content))
    return st.one_of(strategies)


def hash_again(folder: Path) -> None:
    """Let the manifest vouch for whatever is there."""
    files = [path for path in folder.iterdir() if path.is_file() and path.name != MANIFEST_FILE]
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    (folder / MANIFEST_FILE).write_text("".join(sorted(lines)), encoding="utf-8")


@pytest.mark.parametrize("source", sorted(small_suite.MAKERS))
@given(st.data())
@examples(short=1, long=60)
def test_a_source_with_odd_files_is_prepared_or_refused(sandboxes, published, source, data):
    counts.add("sources")
    with cards.sandbox_of(published(source), sandboxes) as sandbox:
        folder = sandbox.cards / "data" / "archives" / source
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        path = data.draw(st.sampled_from(files))
        content = data.draw(sources.odd_file(path))
        odd.put(path, content, sandbox.outside)
        words, data_root = ("data", "prepare", *COPIES), sandbox.cards / "data"
        commands.run(sandbox, *words, named=[data_root], names_paths=odd.is_link(content))
