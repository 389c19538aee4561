"""Merging: what is proved comes in, all of it or nothing; what is stated never ranks."""

import errno
import itertools
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import bench
from bench.cli.main import main
from bench.execution import plan
from bench.records import measurements, transaction
from bench.records.schema import STATED, Failure, Record
from bench.records.store import Store, read_folder, read_valid
from bench.report import verdicts
from bench.report.known_labels import KnownLabels
from bench.report.merging import merge_records
from support import honest_records as honest
from support.honest_records import Made


@pytest.fixture
def theirs(tmp_path: Path) -> Store:
    return honest.write(tmp_path / "theirs", honest.honest(), honest.honest("linear", 700))


@pytest.fixture
def ours(tmp_path: Path) -> Store:
    return Store(tmp_path / "ours")


def merge(ours: Store, *theirs: Store, options: tuple[str, ...] = ()) -> int:
    named = [str(store.root) for store in theirs]
    return main(["merge", *named, "--results", str(ours.root), *options])


def merge_alone(ours: Store, *theirs: Store, accept_stated: bool = False) -> list[str]:
    """Merge without making tables."""
    labels = KnownLabels(Path("no data"), ours)
    ours.root.mkdir(parents=True, exist_ok=True)
    found = verdicts.check_records([store.root for store in theirs], labels)
    return merge_records(found, ours, labels, accept_stated)


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def only(store: Store) -> Record:
    [(_, found)] = store.read_all()
    assert isinstance(found, Record)
    return found


def unproved(method: str = "vpt_deep", hits: int = 600) -> Made:
    return honest.honest(method, hits)[0], None


def failed(method: str = "vpt_deep") -> Made:
    failure = Failure("unsupported", "Unsupported", "it cannot")
    return replace(honest.honest(method)[0], outcome=None, failure=failure), None


def test_what_is_recomputed_comes_in_with_its_predictions_and_ranks(
    theirs: Store, ours: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert merge(ours, theirs) == 0
    assert capsys.readouterr().out.count("added: ") == 2
    assert tree(ours.root / "records") == tree(theirs.root / "records")
    for record in read_valid(ours)[0]:
        kept = ours.read_predictions(record.settings)
        assert kept
        assert not kept.misfit(record)
    assert "| linear " in (ours.root / "leaderboard.md").read_text(encoding="utf-8")
    assert not (ours.root / transaction.STAGING_DIR).exists()
    assert main(["verify", "--results", str(ours.root)]) == 0
    assert merge(ours, theirs) == 0
    assert capsys.readouterr().out.count("here already: ") == 2


def test_what_is_only_stated_is_left_out_with_a_sentence(
    theirs: Store, ours: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    honest.write(theirs.root, unproved("lora"), failed("bias"))
    assert merge(ours, theirs) == 1
    said = capsys.readouterr().err
    assert said.count("left out: ") == 2
    assert "is only stated: its predictions are not here" in said
    assert "is only stated: it has no outcome" in said
    assert "--accept-stated brings them in, unranked" in said
    assert {record.settings.method for record in read_valid(ours)[0]} == {"vpt_deep", "linear"}
    assert len(ours.files()) == 2


def test_what_is_accepted_as_stated_is_marked_listed_and_never_ranks(
    tmp_path: Path, theirs: Store, ours: Store
) -> None:
    assert merge(ours, theirs) == 0
    before = tree(ours.root)
    claims = honest.write(tmp_path / "claims", unproved("lora", 800), failed("bias"))
    assert merge(ours, claims, options=("--accept-stated",)) == 0
    found = read_folder(ours)
    assert {r.settings.method for r in found.stated} == {"lora", "bias"}
    assert {r.evidence for r in found.stated} == {STATED}
    assert {r.settings.method for r in found.records} == {"vpt_deep", "linear"}
    assert bench.load_records(ours.root) == found.records
    board, _, listed = (
        (ours.root / "leaderboard.md").read_text(encoding="utf-8").partition("## Stated by others")
    )
    assert board.rstrip().encode() == (before["leaderboard.md"] or b"").rstrip()
    assert "| lora " in listed
    assert "100.00" in listed
    changed = {name for name, content in tree(ours.root).items() if before.get(name) != content}
    records = {name for name in changed if name.startswith("records")}
    assert changed - records == {"leaderboard.md", "index.html"}, "each lists them by themselves"
    assert main(["verify", "--results", str(ours.root)]) == 0


def test_a_stated_cell_is_run_here_as_if_nobody_had(tmp_path: Path, ours: Store) -> None:
    made = honest.write(tmp_path / "claims", unproved(), failed("linear"))
    merge_alone(ours, made, accept_stated=True)
    for record in made.read_all():
        assert isinstance(record[1], Record)
        assert ours.find(record[1].settings) is None
        assert not plan.is_done(ours.find(record[1].settings))
        assert ours.find_any(record[1].settings)
    ours.write(honest.honest(hits=500)[0])
    assert [record.settings.method for record in read_valid(ours)[0]] == ["vpt_deep"]


def test_a_recomputed_record_takes_the_place_of_a_stated_one_and_not_the_reverse(
    tmp_path: Path, ours: Store
) -> None:
    claim = honest.write(tmp_path / "claim", unproved(hits=800))
    proof = honest.write(tmp_path / "proof", honest.honest(hits=600))
    assert "as stated" in merge_alone(ours, claim, accept_stated=True)[0]
    assert merge_alone(ours, proof)[0].startswith("added: ")
    assert only(ours) == honest.honest(hits=600)[0]
    assert merge_alone(ours, claim, accept_stated=True)[0].startswith("differs, ours kept: ")
    assert only(ours) == honest.honest(hits=600)[0]


def test_a_mark_is_not_believed_but_judged(tmp_path: Path, ours: Store) -> None:
    record, kept = honest.honest()
    marked = honest.write(tmp_path / "marked", (replace(record, evidence=STATED), kept))
    merge_alone(ours, marked)
    assert only(ours).evidence == ""


def test_ours_is_kept_where_both_have_a_result(tmp_path: Path, theirs: Store) -> None:
    ours = honest.write(tmp_path / "ours", honest.honest(hits=400))
    lines = merge_alone(ours, theirs)
    assert [line.partition(": ")[0] for line in sorted(lines)] == ["added", "differs, ours kept"]
    kept = ours.read_predictions(honest.honest()[0].settings)
    assert kept
    assert kept.sha256() == honest.honest(hits=400)[1].sha256()  # type: ignore[union-attr]


def test_their_result_takes_the_place_of_our_failure_and_not_the_reverse(tmp_path: Path) -> None:
    proof = honest.write(tmp_path / "proof", honest.honest())
    failure = honest.write(tmp_path / "failure", failed())
    merge_alone(failure, proof)
    assert only(failure) == honest.honest()[0]
    assert merge_alone(proof, honest.write(tmp_path / "other", failed()), accept_stated=True) == [
        f"differs, ours kept: {Store(tmp_path / 'other').files()[0]}"
    ]
    assert only(proof) == honest.honest()[0]


def test_predictions_come_to_a_record_of_ours_that_had_lost_them(
    tmp_path: Path, theirs: Store
) -> None:
    ours = honest.write(tmp_path / "ours", unproved())
    before = ours.files()[0].read_bytes()
    merge_alone(ours, theirs)
    assert ours.read_predictions(honest.honest()[0].settings)
    assert ours.files()[1].read_bytes() == before


def measured(store: Store, method: str = "vpt_deep") -> Path:
    columns = [*measurements.find_measurement("convergence").columns]
    rows: list[list[float | int | None]] = [[epoch, 1.0, 0.5, None] for epoch in range(1, 11)]
    cell = honest.honest(method)[0].cell
    found = measurements.MeasurementFile(cell, "convergence", 75.0, 0, columns, rows)
    return measurements.write_measurement(store.root, found)


def test_measures_come_with_a_recomputed_record_and_to_the_same_one(
    tmp_path: Path, theirs: Store, ours: Store
) -> None:
    place = measured(theirs).relative_to(theirs.root)
    same = honest.write(tmp_path / "same", honest.honest())
    other = honest.write(tmp_path / "other", honest.honest(hits=500))
    for store in (ours, same, other):
        merge_alone(store, theirs)
    assert (ours.root / place).read_bytes() == (theirs.root / place).read_bytes()
    assert (same.root / place).is_file()
    assert not (other.root / place).exists()


def test_measures_of_a_stated_record_stay_out_for_a_run_would_take_them_for_its_own(
    tmp_path: Path, ours: Store
) -> None:
    claim = honest.write(tmp_path / "claim", unproved())
    measured(claim)
    merge_alone(ours, claim, accept_stated=True)
    assert not (ours.root / measurements.MEASURES_DIR).exists()


def test_the_same_folder_under_two_names_is_merged_once(
    tmp_path: Path, theirs: Store, ours: Store
) -> None:
    again = honest.write(tmp_path / "again", honest.honest(), honest.honest("linear", 700))
    assert len(merge_alone(ours, theirs, again, theirs)) == 2


def test_refused_records_stay_out_and_the_others_come_in(
    theirs: Store, ours: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    honest.edit(theirs.files()[0], lambda whole: whole["outcome"].update(accuracy=99.0))
    assert merge(ours, theirs) == 1
    assert "refused: " in capsys.readouterr().err
    assert len(ours.files()) == 1


def test_nothing_is_copied_byte_by_byte(theirs: Store, ours: Store) -> None:
    """Files are written from the content that was judged: hidden bytes stay behind."""
    [first, _] = theirs.files()
    content = json.loads(first.read_text(encoding="utf-8"))
    first.write_text(json.dumps(content) + " " * 1000, encoding="utf-8")
    for path in (theirs.root / "predictions").iterdir():
        with zipfile.ZipFile(path, "a") as archive:
            archive.comment = b"hidden"
    assert len(merge_alone(ours, theirs)) == 2
    assert b"     " not in ours.files()[0].read_bytes()
    for path in (ours.root / "predictions").iterdir():
        assert b"hidden" not in path.read_bytes()


def test_predictions_that_change_between_judging_and_writing_are_not_written(
    theirs: Store, ours: Store
) -> None:
    labels = KnownLabels(Path("no data"), ours)
    ours.root.mkdir()
    found = verdicts.check_records([theirs.root], labels)
    swapped = honest.honest(hits=1)[1]
    assert swapped
    theirs.write_predictions(honest.honest()[0].settings, swapped)
    before = tree(ours.root)
    with pytest.raises(bench.utils.errors.UserError, match="has changed since it was judged"):
        merge_records(found, ours, labels)
    assert tree(ours.root) == before


def test_links_in_our_folder_that_lead_out_of_it_are_not_written_through(
    tmp_path: Path, theirs: Store, ours: Store
) -> None:
    (tmp_path / "outside").mkdir()
    ours.root.mkdir()
    (ours.root / "predictions").symlink_to(tmp_path / "outside")
    assert merge(ours, theirs) == 2
    assert not list((tmp_path / "outside").iterdir())


class Crash(BaseException):
    """The end of the process."""


def failing_at(step: int, error: BaseException, forever: bool) -> Callable[..., None]:
    counter, plain = itertools.count(1), os.replace

    def replace_(old: object, new: object) -> None:
        at = next(counter)
        if at == step or (forever and at > step):
            raise error
        plain(old, new)  # type: ignore[arg-type]

    return replace_


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(("error", "forever"), [(FULL, True), (FULL, False), (Crash(), True)])
def test_a_merge_that_is_cut_short_anywhere_leaves_the_folder_as_it_was(
    tmp_path: Path, theirs: Store, error: BaseException, forever: bool
) -> None:
    measured(theirs)
    ours = honest.write(tmp_path / "ours", failed())
    before = tree(ours.root)
    for step in itertools.count(1):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(os, "replace", failing_at(step, error, forever))
            try:
                merge_alone(ours, theirs)
            except type(error):
                pass
            else:
                break
        transaction.undo_interrupted(ours.root)
        assert tree(ours.root) == before, step
    assert step > 2 * 5  # two predictions, two records, one measure: each is staged and moved
    assert len(read_valid(ours)[0]) == 2


def test_a_full_disk_is_a_sentence_and_nothing_is_merged(
    theirs: Store, ours: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours.root.mkdir()
    monkeypatch.setattr(os, "replace", failing_at(3, FULL, True))
    assert merge(ours, theirs) == 1
    assert "No space left on device; nothing was merged" in capsys.readouterr().err
    assert not tree(ours.root)


@pytest.mark.parametrize("command", ["report", "verify", "merge"])
def test_the_next_command_undoes_a_merge_that_was_cut_short(
    theirs: Store, ours: Store, command: str
) -> None:
    ours.root.mkdir()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "replace", failing_at(7, Crash(), True))
        patched.setattr(transaction, "_take_back", lambda _: None)
        with pytest.raises(Crash):
            merge_alone(ours, theirs)
    assert (ours.root / transaction.STAGING_DIR / transaction.JOURNAL_FILE).exists()
    words = [str(theirs.root)] if command == "merge" else []
    main([command, *words, "--results", str(ours.root)])
    assert not (ours.root / transaction.STAGING_DIR).exists()
    assert len(ours.files()) == (2 if command == "merge" else 0)
