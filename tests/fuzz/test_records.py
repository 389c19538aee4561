"""Records that strangers send: none breaks a command, and none hides or harms another."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.records.store import Store, load_records, read_record
from support.fuzzing import commands, counts, odd, records, texts
from support.fuzzing.profiles import examples
from support.fuzzing.records import Sent
from support.fuzzing.sandbox import Sandbox, fresh_sandbox

OWN = [  # commands on a results folder that holds odd records
    ("report",),
    ("verify",),
    ("status", "--suite", "mini"),
    ("run", "--dry-run", "--suite", "mini", "--device", "cpu"),
    ("tune", "--dry-run", "--suite", "mini", "--device", "cpu"),
    ("diff", "{sound}", "{sound}"),
    ("show", "{sound}"),
    ("export", "--format", "csv"),
    ("export", "--format", "latex"),
    ("claims", "--paper", "spt2024"),
    ("report", "--paper", "spt2024", "--suite", "mini"),
    ("migrate",),
]
# where another accepted record of the same cell says something else, neither is taken
CONTRADICTED = f"different records of cell {records.sound().cell}"
batches = st.lists(records.sent(), min_size=1, max_size=4)


def write_all(sandbox: Sandbox, folder: Path, sent: list[Sent]) -> list[Path]:
    """Write what was sent, and the sound record at last."""
    counts.add("records", len(sent))
    written = [one.write(folder, sandbox.outside) for one in sent]
    records.sound().write(folder, sandbox.outside)
    return [path for path in written if path]


def holds_sound_record(results: Path) -> bool:
    return records.sound().cell in {record.cell for record in load_records(results)}


@pytest.mark.long
@given(batches, st.data())
@examples(short=12, long=1_300)
def test_merge_takes_what_is_sound_and_nothing_else(sandboxes, sent, data):
    with fresh_sandbox(sandboxes) as sandbox:
        write_all(sandbox, sandbox.theirs, sent)
        commands.run(sandbox, "verify", sandbox.theirs)
        words = ("merge", sandbox.theirs, "--results", sandbox.results)
        ended = commands.run(sandbox, *words, named=[sandbox.results])
        require_clean(sandbox.results)
        assert CONTRADICTED in ended.err or holds_sound_record(sandbox.results), ended
        for words in (("report",), ("verify",), data.draw(st.sampled_from(OWN))):
            ended = run_own(sandbox, words)
            assert words[0] not in ("report", "verify") or ended.status == 0, ended


def require_clean(results: Path) -> None:
    """Only records at their places, and predictions of theirs, came in."""
    store, cells = Store(results), set()
    for path in store.files():
        record = read_record(path)
        assert path == store.path(record.settings)
        cells.add(record.cell)
    for path in (results / "predictions").glob("*"):
        assert path.suffix == ".npz", path
        assert path.stem in cells, path
        assert path.is_file(), path
        assert not path.is_symlink(), path
    for path in (results / "measures").glob("*"):
        assert path.name in cells, path


def run_own(
    sandbox: Sandbox, words: tuple[str, ...], has_own_tables: bool = True
) -> commands.Ended:
    """Run a command on the sandbox's results; its tables, unless they are odd, do no harm."""
    words = tuple(word.replace("{sound}", records.sound().cell) for word in words)
    ended = commands.run(sandbox, *words, "--results", sandbox.results, named=[sandbox.results])
    if has_own_tables:
        texts.require_harmless(sandbox.results)
    return ended


@given(batches, st.sampled_from(OWN), st.sampled_from(OWN))
@examples(short=15, long=1_200)
def test_a_results_folder_with_odd_records_still_shows_the_sound_ones(
    sandboxes, sent, first, second
):
    with fresh_sandbox(sandboxes) as sandbox:
        write_all(sandbox, sandbox.results, sent)
        for words in (first, second):
            run_own(sandbox, words)
            assert holds_sound_record(sandbox.results)


@given(records.sent(), st.sampled_from(("show", "diff", "export")))
@examples(short=8, long=400)
def test_an_odd_record_is_named_by_its_file(sandboxes, sent, command):
    with fresh_sandbox(sandboxes) as sandbox:
        [path, *_] = write_all(sandbox, sandbox.results, [sent]) or [sandbox.results / "none"]
        words = {
            "show": (path,),
            "diff": (path, records.sound().cell),
            "export": ("--record", path, "--device", "cpu", "--out", sandbox.results / "x", *DATA),
        }[command]
        if command != "export" or not isinstance(sent.content, bytes):
            run_own(sandbox, (command, *map(str, words)))


DATA = ("--data-root", "data")


@pytest.mark.long
@given(records.odd_files_beside(), st.sampled_from(OWN), st.sampled_from(OWN))
@examples(short=12, long=1_000)
def test_odd_files_beside_records_keep_no_record_from_being_shown(sandboxes, beside, first, second):
    path, content = beside
    counts.add("files beside records")
    with fresh_sandbox(sandboxes) as sandbox:
        for folder in (sandbox.results, sandbox.theirs):
            if path != "records":
                write_all(sandbox, folder, [])
            remove(folder / path)
            odd.put(folder / path, content, sandbox.outside)
        merge = ("merge", str(sandbox.theirs))
        for words in (merge, first, second):
            run_own(sandbox, words, has_own_tables=False)
            assert path == "records" or holds_sound_record(sandbox.results)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)


@given(st.lists(odd.json_values, min_size=1, max_size=3), st.binary(max_size=60))
@examples(short=6, long=300)
def test_files_that_never_were_records(sandboxes, values, content):
    with fresh_sandbox(sandboxes) as sandbox:
        made = [records.to_json(value).encode("utf-8", "surrogatepass") for value in values]
        sent = [Sent(f"{i}.json", one, "x") for i, one in enumerate([*made, content])]
        write_all(sandbox, sandbox.theirs, sent)
        ended = commands.run(sandbox, "verify", sandbox.theirs)
        assert f"{len(sent)} refused" in ended.out, ended


@given(st.sampled_from(records.bases()), st.data())
@examples(short=6, long=300)
def test_migration_of_odd_records_of_the_earlier_schema(sandboxes, table, data):
    tree = records.tree_of(records.of_schema_1(table))
    odd_tree = data.draw(records.mutated(tree, odd.json_values, odd.json_names))
    text = records.to_json(odd_tree).replace('"schema": 1', '\n "schema": 1')
    with fresh_sandbox(sandboxes) as sandbox:
        sent = Sent("x.json", text.encode("utf-8", "surrogatepass"), "x")
        write_all(sandbox, sandbox.results, [sent])
        run_own(sandbox, ("migrate",))
        for words in (("report",), ("verify",)):
            run_own(sandbox, words)
