"""Import of existing copies: each task in the variant that its images have."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from bench.cli.main import main
from bench.config.suite import load_suite
from bench.data import splits
from bench.data.prepared import CARD_FILE, MANIFEST_FILE, read_card, read_entries
from bench.prepare import archives, writer
from bench.records.schema import Record
from bench.records.store import Store
from bench.report import boards
from bench.report.frame import record_frame
from bench.report.record_diff import rerun_command
from support import small_suite, suite_copies, tiny
from support.suite_copies import bring, brought_in

BOTH = ("light", "dark")


def run(folder: Path, *more: str) -> int:
    """Run one cell of the task `light`."""
    suite = ("--suite", str(folder / "suite.toml"), "--data-root", str(folder / "data"))
    changes = [word for change in tiny.QUICK for word in ("--set", change)]
    chosen = ("--results", str(folder / "results"), "--device", "cpu", "--tasks", "light")
    return main(["run", *suite, *chosen, *changes, *more])


def records(folder: Path) -> list[Record]:
    return [found for _, found in Store(folder / "results").read_all() if isinstance(found, Record)]


def prepared(folder: Path, task: str, variant: str) -> Path:
    return folder / "data" / "prepared" / "copied" / task / variant


@pytest.fixture
def noah(tmp_path: Path) -> Path:
    """A copy of quality 75 in NOAH's layout, in the folder of its suite's card."""
    suite_copies.suite(tmp_path)
    return suite_copies.write_noah(tmp_path / "vtab-1k")


@pytest.mark.parametrize("kind", ["folder", "zip", "zip without a top folder", "folder above"])
def test_a_copy_in_noahs_layout_lands_task_by_task(noah: Path, tmp_path: Path, kind: str) -> None:
    made = {
        "folder": lambda: noah,
        "zip": lambda: suite_copies.zipped(noah, tmp_path / "vtab-1k.zip"),
        "zip without a top folder": lambda: suite_copies.zipped(
            noah, tmp_path / "copy.zip", top=""
        ),
        "folder above": lambda: Path(shutil.move(noah, tmp_path / "above" / "vtab-1k")).parent,
    }
    (tmp_path / "above").mkdir()
    assert bring(tmp_path, made[kind]()) == 0
    assert brought_in(tmp_path) == ["dark/jpeg75", "light/jpeg75"]


def test_one_task_of_a_copy_may_be_brought_in_alone(
    noah: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = suite_copies.zipped(noah / "cifar", tmp_path / "cifar.zip", top="")
    for number, path in enumerate([noah / "cifar", alone]):
        assert bring(tmp_path, path, root=f"data{number}") == 0
        assert (tmp_path / f"data{number}/prepared/copied/light/jpeg75/card.json").is_file()
    monkeypatch.chdir(noah / "cifar")
    assert bring(tmp_path, Path()) == 0
    assert brought_in(tmp_path) == ["light/jpeg75"]


def test_chosen_tasks_alone_are_brought_in(
    noah: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bring(tmp_path, noah, "--tasks", "dark") == 0
    assert brought_in(tmp_path) == ["dark/jpeg75"]
    assert "dark: brought in, variant jpeg75" in capsys.readouterr().out
    assert bring(tmp_path, noah, "--tasks", "lihgt") == 2
    assert "did you mean light" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("saved", "light", "dark"),
    [
        ({}, "jpeg75", "jpeg75"),
        ({"quality": 75, "subsampling": 0}, "jpeg75", "jpeg75"),
        ({"quality": 95}, "jpeg75", "lossless"),  # of pixels no JPEG is without loss
        ({"format": "PNG"}, "lossless", "lossless"),
    ],
)
@pytest.mark.parametrize("layout", ["noah", "fgvc"])
def test_a_copys_variant_is_told_by_its_images(
    tmp_path: Path, layout: str, saved: dict[str, object], light: str, dark: str
) -> None:
    suite_copies.suite(tmp_path, suite_copies.FGVC if layout == "fgvc" else suite_copies.NOAH)
    write = suite_copies.write_fgvc if layout == "fgvc" else suite_copies.write_noah
    assert bring(tmp_path, write(tmp_path / "copy", **saved)) == 0
    assert brought_in(tmp_path) == [f"dark/{dark}", f"light/{light}"]


@pytest.mark.parametrize("task", BOTH)
def test_a_copy_of_quality_75_cannot_pose_as_lossless(
    noah: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    assert bring(tmp_path, noah, "--tasks", task, "--variant", "lossless") == 1
    assert f"E-VARIANT {task}: the images of {noah}" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_a_jpeg_beyond_the_first_images_is_found_and_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite_copies.suite(tmp_path)
    copy = suite_copies.write_noah(tmp_path / "copy", ["light"], format="PNG")
    (copy / "cifar/images/test/000000.jpg").write_bytes(suite_copies.saved())
    assert bring(tmp_path, copy) == 1
    said = "E-VARIANT light/test: JPEG of quality 75 found in variant 'lossless'"
    assert said in capsys.readouterr().err
    assert not brought_in(tmp_path)
    assert not list((tmp_path / "data").rglob("*.tar"))


@pytest.mark.parametrize("layout", ["noah", "fgvc"])
def test_what_is_read_is_what_the_folder_as_found_gives(tmp_path: Path, layout: str) -> None:
    """Labels, pixels, order and counts, of every split."""
    lists = suite_copies.FGVC if layout == "fgvc" else suite_copies.NOAH
    write = suite_copies.write_fgvc if layout == "fgvc" else suite_copies.write_noah
    suite = load_suite(str(suite_copies.suite(tmp_path, lists)))
    copy = write(tmp_path / "data" / "copies")
    assert bring(tmp_path, suite_copies.zipped(copy, tmp_path / "copy.zip")) == 0
    for task in suite.task:
        for split in suite_copies.COUNTS:
            ours = splits.load_split(suite, task, split, tmp_path / "data", "jpeg75")
            theirs = splits.load_split(suite, task, split, tmp_path / "data")
            assert ours.spans
            assert not theirs.spans
            assert ours.labels.tolist() == theirs.labels.tolist()
            assert len(ours) == suite_copies.COUNTS[split]
            for index in range(len(ours)):
                assert splits.read_bytes(ours, index) == splits.read_bytes(theirs, index)
                assert torch.equal(splits.decode(ours, index), splits.decode(theirs, index))


def test_a_class_that_one_split_of_vpts_lists_lacks_shifts_no_label(tmp_path: Path) -> None:
    suite = load_suite(str(suite_copies.suite(tmp_path, suite_copies.FGVC)))
    copy = suite_copies.write_fgvc(tmp_path / "fgvc", ["dark"])
    val = copy / "pets" / "val.json"
    val.write_text(
        json.dumps(dict.fromkeys(json.loads(val.read_text(encoding="utf-8")), 300)),
        encoding="utf-8",
    )
    assert bring(tmp_path, copy) == 0
    found = splits.load_split(suite, suite.task[1], "val", tmp_path / "data", "jpeg75")
    assert found.labels.tolist() == [1] * 4


def test_trainval_is_train_then_val(noah: Path, tmp_path: Path) -> None:
    assert bring(tmp_path, noah) == 0
    suite = load_suite(str(tmp_path / "suite.toml"))
    both, train, val = (
        splits.load_split(suite, suite.task[0], split, tmp_path / "data", "jpeg75")
        for split in ("trainval", "train", "val")
    )
    assert both.names == train.names + val.names


def test_bringing_in_again_takes_the_place_of_the_former_copy(noah: Path, tmp_path: Path) -> None:
    assert bring(tmp_path, noah) == 0
    (noah / "cifar/images/test/000000.jpg").write_bytes(suite_copies.saved())
    before = read_entries(prepared(tmp_path, "light", "jpeg75"), "light", "test")
    assert bring(tmp_path, noah) == 0
    after = read_entries(prepared(tmp_path, "light", "jpeg75"), "light", "test")
    assert before[0].sha256 != after[0].sha256
    assert before[1].sha256 == after[1].sha256


def test_a_copy_never_takes_the_place_of_what_was_made_from_the_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite_copies.suite(tmp_path)
    copy = suite_copies.write_noah(tmp_path / "copy", ["light"], format="PNG")
    assert bring(tmp_path, copy) == 0
    folder = prepared(tmp_path, "light", "lossless")
    rewrite(folder, imported=None)
    assert bring(tmp_path, copy) == 1
    assert f"light was prepared from its source, in {folder}" in capsys.readouterr().err


def rewrite(folder: Path, imported: str | None) -> None:
    """Make the card say that the folder was made from a copy, or from its source."""
    card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8")) | {"imported": imported}
    (folder / MANIFEST_FILE).unlink()
    writer.write_card(folder, {k: v for k, v in card.items() if v is not None})


def test_what_is_made_from_the_source_takes_the_place_of_a_copy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = str(small_suite.write(tmp_path, "cifar100"))
    words = ["data", "prepare", "--suite", suite, "--data-root", str(tmp_path / "data")]
    assert main(words) == 0
    folder = tmp_path / "data" / "prepared" / "small" / "cifar100" / "lossless"
    rewrite(folder, imported="copy.zip")
    assert main(words) == 0
    assert "prepared before" not in capsys.readouterr().out
    assert "imported" not in read_card(folder)
    assert main(words) == 0
    assert "prepared before" in capsys.readouterr().out


@pytest.mark.long
def test_a_copy_is_run_under_its_name_alone(
    noah: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bring(tmp_path, noah) == 0
    assert run(tmp_path) == 2
    said = capsys.readouterr().err
    assert "1 of 1 tasks (light) cannot be read: light is prepared as jpeg75, not as" in said
    assert said.endswith("lossless: say --variant jpeg75\n")
    assert run(tmp_path, "--variant", "jpeg75") == 0
    (record,) = records(tmp_path)
    assert record.ok
    assert record.settings.split.startswith("jpeg75:")
    assert "--variant jpeg75" in rerun_command(record)


@pytest.mark.long
def test_a_copy_never_shares_a_table_with_lossless_data(tmp_path: Path) -> None:
    suite_copies.suite(tmp_path)
    for name, saved in (("jpeg", {}), ("png", {"format": "PNG"})):
        assert bring(tmp_path, suite_copies.write_noah(tmp_path / name, ["light"], **saved)) == 0
    suite_copies.write_noah(tmp_path / "data" / "copies", ["dark"], format="PNG")
    assert run(tmp_path) == 0
    assert run(tmp_path, "--variant", "jpeg75") == 0
    found = records(tmp_path)
    assert sorted(record.settings.variant for record in found) == ["jpeg75", "lossless"]
    assert [len(part) for part in boards.split_comparable(record_frame(found))] == [1, 1]
    text = (tmp_path / "results" / "leaderboard.md").read_text(encoding="utf-8")
    for variant in ("jpeg75", "lossless"):
        assert f"## copied v1, small, quick v1 [variant={variant}]\n" in text
        assert f"copied (copied, version 1); data {variant}; backbone small" in text
    assert "Splits:" not in text
    assert "--variant" not in rerun_command(
        next(r for r in found if r.settings.variant == "lossless")
    )


def test_the_list_of_train_and_val_together_is_not_needed(noah: Path, tmp_path: Path) -> None:
    for path in noah.rglob("train800val200.txt"):
        path.unlink()
    assert bring(tmp_path, noah) == 0


def test_lists_of_a_copy_are_read_once_and_before_any_image(
    noah: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large tar is read from its beginning each time."""
    asked: list[Sequence[str]] = []
    read = archives.FolderArchive.read

    def counted(self: archives.FolderArchive, wanted: Sequence[str]) -> object:
        asked.append(list(wanted))
        return read(self, wanted)

    monkeypatch.setattr(archives.FolderArchive, "read", counted)
    assert bring(tmp_path, noah, "--tasks", "light") == 0
    assert len(asked) == 3  # the lists, some images, all images
    lines = (noah / "cifar" / "test.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    (noah / "cifar" / "test.txt").write_text("".join(lines[1:]), encoding="utf-8")
    asked.clear()
    assert bring(tmp_path, noah, "--tasks", "light") == 1
    assert len(asked) == 1  # no image was read to find that there are too few
