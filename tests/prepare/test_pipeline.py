"""``bench data prepare``: from archives in the official layouts to data that a run reads."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from PIL import Image

from bench.cli.main import main
from bench.config.suite import load_suite
from bench.data import splits
from bench.data.prepared import (
    CARD_FILE,
    MANIFEST_FILE,
    SplitEntry,
    available_variants,
    read_entries,
    read_manifest,
)
from bench.prepare import build, downloads, writer
from bench.records.store import Store
from bench.utils.parallel import threaded_map
from support import small_suite

SPLITS = ("train", "val", "test")


def prepare(folder: Path, *more: str) -> int:
    return main(["data", "prepare", *where(folder), *more])


def where(folder: Path) -> list[str]:
    return ["--suite", str(folder / "suite.toml"), "--data-root", str(folder / "data")]


def prepared(folder: Path, source: str = "cifar100") -> Path:
    """Prepare a suite of one source; return its folder."""
    small_suite.write(folder, source)
    assert prepare(folder) == 0
    return folder / "data" / "prepared" / "small" / source / "lossless"


@pytest.mark.parametrize("source", small_suite.MAKERS)
def test_every_source_is_prepared_checked_and_read(source, tmp_path, capsys):
    folder = prepared(tmp_path, source)
    assert main(["data", "check", "--deep", *where(tmp_path)]) == 0
    suite = load_suite(str(tmp_path / "suite.toml"))
    for task in suite.task:
        for split in SPLITS:
            found = splits.load_split(suite, task, split, tmp_path / "data")
            assert len(found) == len(read_entries(folder, task.name, split)) > 0
            assert 0 <= int(found.labels.min()) <= int(found.labels.max()) < task.classes
            for index in range(len(found)):
                assert splits.decode(found, index).dtype == torch.uint8


def test_tasks_of_one_source_share_their_images(tmp_path):
    folder = prepared(tmp_path, "clevr")
    count, distance = (read_entries(folder, task, "test") for task in ("clevr_count", "clevr_dist"))
    assert [row.offset for row in count] == [row.offset for row in distance]
    assert len(list(folder.glob("images-*.tar"))) == 1


def test_a_run_reads_what_was_prepared_and_its_record_says_so(tmp_path):
    prepared(tmp_path)
    results = tmp_path / "results"
    changes = ["--set", "epochs=1", "--set", "warmup_epochs=0", "--set", "precision=fp32"]
    assert main(["run", *where(tmp_path), "--results", str(results), *changes]) == 0
    [(_, record)] = Store(results).read_all()
    suite = load_suite(str(tmp_path / "suite.toml"))
    test = splits.load_split(suite, suite.task[0], "test", tmp_path / "data")
    assert record.settings.variant == "lossless"
    assert record.settings.split.endswith(splits.fingerprint(test))
    assert "lossless" in (results / "leaderboard.md").read_text(encoding="utf-8")


def test_images_that_changed_under_the_same_size_are_refused_before_compute(tmp_path, capsys):
    folder = prepared(tmp_path)
    tar = folder / "images-000.tar"
    content = bytearray(tar.read_bytes())
    content[600] ^= 1
    old = os.stat(tar)
    tar.write_bytes(content)
    os.utime(tar, ns=(old.st_atime_ns, old.st_mtime_ns))
    results = tmp_path / "results"
    assert main(["run", *where(tmp_path), "--results", str(results)]) == 2
    said = capsys.readouterr().err
    assert f"E-MANIFEST {tar}: its bytes have changed since it was prepared" in said
    assert not list(results.rglob("*.json"))


def test_every_prepared_image_stands_in_the_name_of_its_split(tmp_path):
    prepared(tmp_path)
    suite = load_suite(str(tmp_path / "suite.toml"))
    test = splits.load_split(suite, suite.task[0], "test", tmp_path / "data")
    for i in range(len(test)):
        changed = tuple("f" * 64 if i == j else one for j, one in enumerate(test.hashes))
        assert splits.fingerprint(replace(test, hashes=changed)) != splits.fingerprint(test)


def card(folder: Path) -> dict:
    place = folder / "data" / "prepared" / "small" / "cifar100" / "lossless"
    return json.loads((place / "card.json").read_text(encoding="utf-8"))


def test_pixels_are_kept_without_loss_and_files_as_published(tmp_path):
    folder = prepared(tmp_path)
    with tarfile.open(folder / "images-000.tar") as tar:  # any tool can open it
        kinds = {Image.open(tar.extractfile(member)).format for member in tar}
    assert kinds == {"PNG"}
    flowers = prepared(tmp_path / "two", "oxford_flowers102")
    published = tmp_path / "two" / "data" / "archives" / "oxford_flowers102" / "102flowers.tgz"
    with tarfile.open(published) as tar:
        held = {Path(m.name).name: tar.extractfile(m).read() for m in tar if m.isfile()}
    suite = load_suite(str(tmp_path / "two" / "suite.toml"))
    found = splits.load_split(suite, suite.task[0], "test", tmp_path / "two" / "data")
    for index, row in enumerate(read_entries(flowers, suite.task[0].name, "test")):
        assert splits.read_bytes(found, index) == held[row.key]


def test_the_card_says_what_it_was_made_from_and_the_manifest_vouches_for_all(tmp_path):
    folder = prepared(tmp_path)
    said = card(tmp_path)
    assert said["archives"].keys() == {"cifar-100-binary.tar.gz"}
    assert {"pillow", "numpy"} <= said["versions"].keys()
    assert said["certificates"]["cifar"].keys() == set(SPLITS)
    checked = subprocess.run(["sha256sum", "--check", MANIFEST_FILE], cwd=folder, check=False)
    assert checked.returncode == 0
    assert read_manifest(folder).keys() == {p.name for p in folder.iterdir()} - {MANIFEST_FILE}


def test_a_second_prepare_gives_the_same_bytes(tmp_path, capsys):
    folder = prepared(tmp_path)
    before = read_manifest(folder)
    assert prepare(tmp_path) == 0
    assert "prepared before" in capsys.readouterr().out
    assert prepare(tmp_path, "--force") == 0
    after = read_manifest(folder)
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {CARD_FILE}  # it says when it was made


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--tasks", "cifra"], "did you mean cifar?"),
        (["--accept-license", "kity"], "no source whose terms could be accepted 'kity'"),
        (["--suite", "vtab"], "did you mean vtab1k, vtab_mini?"),
        (["--suite", "mini"], "no task of suite 'mini' is made from a source"),
    ],
)
def test_a_name_that_is_not_known_is_refused_before_anything_is_done(words, says, tmp_path, capsys):
    small_suite.write(tmp_path, "cifar100")
    assert prepare(tmp_path, *words) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "data" / "prepared").exists()


def test_a_source_that_must_be_had_by_hand_is_named_and_the_others_go_on(tmp_path, capsys):
    small_suite.write(tmp_path / "other", "svhn")
    small_suite.write(tmp_path, "cifar100", make=False)
    for path in ("data/archives/svhn", "svhn.toml"):
        shutil.move(tmp_path / "other" / path, tmp_path / path)
    both = (
        (tmp_path / "suite.toml").read_text(encoding="utf-8")
        + "[[task]]"
        + second(tmp_path / "other")
    )
    (tmp_path / "suite.toml").write_text(both, encoding="utf-8")
    assert prepare(tmp_path) == 1
    said = capsys.readouterr()
    assert "svhn: " in said.out
    assert "archives/cifar100/cifar-100-binary.tar.gz there by hand" in said.err


def second(folder: Path) -> str:
    return (folder / "suite.toml").read_text(encoding="utf-8").split("[[task]]")[1]


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def archive(folder: Path) -> Path:
    return folder / "data" / "archives" / "cifar100" / "cifar-100-binary.tar.gz"


def test_a_truncated_archive_leaves_nothing_and_is_named(tmp_path, capsys):
    small_suite.write(tmp_path, "cifar100")
    damage(archive(tmp_path))
    assert prepare(tmp_path) == 1
    assert "cifar-100-binary.tar.gz is corrupt or truncated" in capsys.readouterr().err
    assert left(tmp_path) == []


def left(folder: Path) -> list[str]:
    """The files among the prepared data, except locks."""
    found = (folder / "data" / "prepared").rglob("*")
    return [path.name for path in found if path.is_file() and path.suffix != ".lock"]


def test_wrong_labels_are_refused(tmp_path, capsys):
    path = small_suite.write(tmp_path, "cifar100")
    path.write_text(
        path.read_text(encoding="utf-8").replace("classes = 100", "classes = 3"), encoding="utf-8"
    )
    assert prepare(tmp_path) == 1
    assert "E-LABEL cifar/" in capsys.readouterr().err
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ('keys = { "train" = { "template" = "", "counts" = [9] } }', "must be 9"),
        ('counts = { "test" = [4] }', "E-COUNT cifar/test: 5 images; there must be 4"),
        ('present = { "test" = 9 }', "E-LABEL cifar/test: 5 classes; there must be 9"),
    ],
)
def test_a_source_that_is_not_what_the_card_says_is_refused(entry, says, tmp_path, capsys):
    path = small_suite.write(tmp_path, "cifar100")
    name = entry.split(" ")[0]
    lines = [
        entry if line.startswith(f"{name} =") else line
        for line in path.read_text(encoding="utf-8").split("\n")
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert prepare(tmp_path) == 1
    assert says in capsys.readouterr().err


def test_another_selection_than_the_known_one_is_told_from_another_order(tmp_path, capsys):
    path = small_suite.write(tmp_path, "cifar100")
    path.write_text(
        path.read_text(encoding="utf-8").replace('digest = ""', 'digest = "0123456789abcdef"', 1),
        encoding="utf-8",
    )
    assert prepare(tmp_path) == 1
    assert "E-SELECTION cifar/train: other images than VTAB's" in capsys.readouterr().err


def test_a_disk_without_room_is_found_out_first(tmp_path, capsys, monkeypatch):
    small_suite.write(tmp_path, "cifar100")
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    assert prepare(tmp_path) == 1
    assert "E-SPACE need 1 bytes, free 0 bytes" in capsys.readouterr().err
    assert left(tmp_path) == []


def test_a_disk_that_fills_leaves_nothing_half_made(tmp_path, capsys, monkeypatch):
    small_suite.write(tmp_path, "cifar100")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer.TarWriter, "add", full)
    assert prepare(tmp_path) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert left(tmp_path) == []


def test_a_root_that_cannot_be_written_is_one_sentence(tmp_path, capsys):
    small_suite.write(tmp_path, "cifar100")
    (tmp_path / "data" / "prepared").write_text("in the way", encoding="utf-8")
    assert prepare(tmp_path) in (1, 2)
    assert capsys.readouterr().err.count("\n") <= 3


def test_two_prepares_at_once_do_not_meet(tmp_path, capsys):
    small_suite.write(tmp_path, "cifar100")
    home = tmp_path / "data" / "prepared" / "small" / "cifar100"
    home.mkdir(parents=True)
    with FileLock(home / ".lossless.lock"):
        assert prepare(tmp_path) == 1
    assert "is being prepared by another process" in capsys.readouterr().err
    assert prepare(tmp_path) == 0


SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
from bench.prepare import writer
encode = writer.encode_image
writer.encode_image = lambda *image: (print("begun", flush=True), time.sleep(3), encode(*image))[-1]
from bench.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.sample(1)
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_prepare_is_never_taken_for_a_whole_one(sent, tmp_path):
    small_suite.write(tmp_path, "cifar100")
    words = [sys.executable, "-c", SLOW, "data", "prepare", *where(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        while b"begun" not in process.stdout.readline():
            time.sleep(0.01)
        process.send_signal(sent)
        process.kill() if sent == signal.SIGKILL else None
        process.stdout.read()
    suite = load_suite(str(tmp_path / "suite.toml"))
    assert available_variants(tmp_path / "data", suite.name, suite.task[0]) == []
    assert prepare(tmp_path) == 0
    assert not list((tmp_path / "data").rglob("*.partial"))


def test_options_that_a_format_does_not_have_are_named(tmp_path, capsys):
    small_suite.write(tmp_path, "cifar100")
    path = tmp_path / "cifar100.toml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("options = {  }", "options = { colour = 1 }"),
        encoding="utf-8",
    )
    assert prepare(tmp_path) == 1
    assert "the card of the source cifar100: options: " in capsys.readouterr().err
    path.write_text(
        path.read_text(encoding="utf-8").replace('format = "cifar100"', 'format = "cifar"'),
        encoding="utf-8",
    )
    assert prepare(tmp_path) == 1
    assert "did you mean cifar100?" in capsys.readouterr().err


def test_images_come_out_of_the_threads_in_their_order():
    names = [("train", str(i)) for i in range(300)]
    pixels = [torch.full((4, 4), i % 256, dtype=torch.uint8).numpy() for i in range(300)]
    kept = threaded_map(lambda one: writer.encode_image(*one), zip(names, pixels, strict=True))
    assert [image.key for image in kept] == names


def test_another_tar_is_begun_when_one_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "MAX_TAR_BYTES", 3000)
    noise = torch.randint(0, 256, (40, 40, 3), dtype=torch.uint8)
    pictures = [(("train", str(i)), (noise + i).numpy()) for i in range(4)]
    spans = writer.write_images(tmp_path, iter(pictures))
    assert {span.tar for span in spans.values()} == {f"images-{n:03d}.tar" for n in range(4)}
    for (name, pixels), span in zip(pictures, spans.values(), strict=True):
        row = SplitEntry(0, *name, span.tar, span.offset, span.size, span.sha256)
        read = splits.decode(splits.from_prepared(tmp_path, [row]), 0).permute(1, 2, 0)
        assert (read.numpy() == pixels).all()


def test_every_format_is_a_source_s():
    from bench.config.suite import SOURCES_DIR, load_source
    from bench.prepare.readers import READERS

    used = {load_source(path.stem).format for path in SOURCES_DIR.glob("*.toml")}
    assert used == READERS.keys()
    assert build.RECORDED_PACKAGES
