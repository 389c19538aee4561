"""The digest of a split, which covers every image file."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.cli.main import main
from bench.config.suite import Split, Suite, load_suite
from bench.data.loader import BatchLoader
from bench.data.splits import Examples, fingerprint, load_split, read_bytes, subset
from bench.data.transforms import Transform
from bench.records.store import Store
from bench.utils import files
from support import small_suite, tiny

EMBEDDED = {  # trainval and test, as committed records name them: they may never change
    "digits": "408e665569b94e8d-a9a46dc14de7db08",
    "photo_crops": "5121e65bf8d1c751-5b59ed77b1a5915b",
    "sprites_location": "93cf90e0acf8bba2-3b4a97647f1d7b8a",
    "sprites_orientation": "28a15d33031d3ef6-6153d0b58480bd2b",
    "count": "a37844535ddc4e58-1a767218d557134d",
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small tasks as found, not to be changed."""
    return tiny.write_all(tmp_path_factory.mktemp("original"))


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    return tmp_path


def light(folder: Path) -> Path:
    return folder / "data" / "light"


def suite(folder: Path) -> Suite:
    return load_suite(str(folder / "tiny.toml"))


def digest(folder: Path, split: Split = "test") -> str:
    of = suite(folder)
    return fingerprint(load_split(of, of.task[0], split, folder / "data"), light(folder))


def replace(file: Path, seed: int = 99) -> None:
    """Other pixels under the same name."""
    noise = np.random.default_rng(seed).integers(0, 256, (tiny.SIDE, tiny.SIDE, 3), np.uint8)
    Image.fromarray(noise).save(file)


# Folders as found


def test_what_is_written_at_once_after_a_check_counts(folder: Path) -> None:
    """Within one tick of the clock of file times, and in place: size, times and inode stay."""
    file = light(folder) / "images" / "test" / "3.png"
    seen = set()
    for value in range(8):
        with open(file, "r+b") as opened:
            opened.seek(-1, os.SEEK_END)
            opened.write(bytes([value]))
        seen.add(digest(folder))
    assert len(seen) == 8


@pytest.mark.parametrize("where", ["../elsewhere/0.png", "{}/elsewhere/0.png"])
def test_images_outside_the_folder_count(folder: Path, where: str) -> None:
    outside = folder / "data" / "elsewhere"
    shutil.copytree(light(folder) / "images" / "test", outside)
    path, line = light(folder) / "test.txt", where.format(folder / "data")
    path.write_text(
        path.read_text(encoding="utf-8").replace("images/test/0.png", line), encoding="utf-8"
    )
    before = digest(folder)
    replace(outside / "0.png")
    assert digest(folder) != before


def lists(folder: Path) -> list[str]:
    return (light(folder) / "test.txt").read_text(encoding="utf-8").splitlines(keepends=True)


CHANGES = {
    "another label": lambda lines: [lines[0].replace(" 0", " 1"), *lines[1:]],
    "another order": lambda lines: [*lines[2:], *lines[:2]],
    "two alike exchanged": lambda lines: [lines[2], lines[1], lines[0], *lines[3:]],
    "one less": lambda lines: lines[:-1],
    "one twice": lambda lines: [*lines, lines[-1]],
    "one in the place of another": lambda lines: [lines[2], *lines[1:]],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_list_counts(folder: Path, change) -> None:
    before = digest(folder)
    (light(folder) / "test.txt").write_text("".join(change(lists(folder))), encoding="utf-8")
    assert digest(folder) != before


def test_a_split_is_what_its_own_lists_name(folder: Path) -> None:
    """Validation images are part of trainval, and neither of train nor of test."""
    before = {split: digest(folder, split) for split in ("train", "val", "trainval", "test")}
    replace(light(folder) / "images" / "val" / "0.png")
    changed = {split for split in before if digest(folder, split) != before[split]}
    assert changed == {"val", "trainval"}


def test_a_cell_is_done_no_more_when_its_images_were_replaced(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = tiny.command("run", folder, folder / "results", "linear")
    assert main(words) == 0
    assert main(words) == 0
    assert "nothing to run: 1 of 1 cells have a result" in capsys.readouterr().err
    for number in range(1, 16, 2):  # those between the 16 that a certificate looks at would do
        replace(light(folder) / "images" / "test" / f"{number}.png", seed=number)
    assert main(words) == 0
    assert "1 cells to run, 0 done before" in capsys.readouterr().err
    assert len({record.settings.split for _, record in Store(folder / "results").read_all()}) == 2


def test_images_replaced_between_two_cells_of_a_process_are_decoded_again(folder: Path) -> None:
    def seen() -> torch.Tensor:
        examples = load_split(suite(folder), suite(folder).task[0], "test", folder / "data")
        how = (
            Transform("squash", "bicubic"),
            tiny.SIDE,
            16,
            (0.0,) * 3,
            (1.0,) * 3,
            torch.device("cpu"),
        )
        return torch.cat([images for images, _ in BatchLoader(examples, *how)])

    before = seen()
    replace(light(folder) / "images" / "test" / "3.png")
    assert [torch.equal(*pair) for pair in zip(before, seen(), strict=True)].index(False) == 3


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda file: file.mkdir(), "Is a directory"),
        (lambda file: file.symlink_to("nowhere"), "No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    folder: Path, spoil, says, capsys: pytest.CaptureFixture[str]
) -> None:
    file = light(folder) / "images" / "test" / "3.png"
    file.unlink()
    spoil(file)
    assert main(tiny.command("run", folder, folder / "results", "linear")) == 2
    said = capsys.readouterr().err
    assert f"{file} cannot be read: {says}" in said
    assert said.count("\n") == 1


# Prepared folders


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared suite of one task, not to be changed."""
    folder = tmp_path_factory.mktemp("built")
    card = small_suite.write(folder, "cifar100")
    words = ["--suite", str(card), "--data-root", str(folder / "data")]
    assert main(["data", "prepare", *words]) == 0
    return folder


@pytest.fixture
def prepared(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    return tmp_path


def read(folder: Path) -> Examples:
    of = load_suite(str(folder / "suite.toml"))
    return load_split(of, of.task[0], "test", folder / "data")


def test_prepared_images_count_by_the_bytes_that_their_list_vouches_for(prepared: Path) -> None:
    examples = read(prepared)
    contents = [read_bytes(examples, i) for i in range(len(examples))]
    some = subset(examples, torch.tensor([2, 0]))
    assert some.hashes == (examples.hashes[2], examples.hashes[0])
    assert examples.hashes == tuple(hashlib.sha256(content).hexdigest() for content in contents)


def test_a_tar_is_read_once_for_all_splits(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, plain = [], files.sha256_of_file
    monkeypatch.setattr(files, "sha256_of_file", lambda path: seen.append(path.name) or plain(path))
    of = load_suite(str(prepared / "suite.toml"))
    for split in ("trainval", "test", "train"):
        load_split(of, of.task[0], split, prepared / "data")
    assert seen == ["images-000.tar"]


# Embedded tasks


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_identity_of_an_embedded_task_is_that_of_all_committed_records(name: str) -> None:
    of = load_suite("mini")
    splits = (load_split(of, of.find(name), split, Path()) for split in ("trainval", "test"))
    assert "-".join(map(fingerprint, splits)) == EMBEDDED[name]


def test_every_embedded_task_has_its_identity_here() -> None:
    assert [task.name for task in load_suite("mini").task] == list(EMBEDDED)
