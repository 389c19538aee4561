"""``bench data check``: every fault of data on disk is reported, and nothing else."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.cli.main import main
from bench.data.prepared import CARD_FILE, MANIFEST_FILE, read_entries
from bench.prepare import build, writer
from bench.utils import files
from support import small_suite, suite_copies, tiny

Capture = pytest.CaptureFixture[str]
Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small prepared suite of CIFAR-100; read-only."""
    folder = tmp_path_factory.mktemp("whole")
    suite = small_suite.write(folder, "cifar100")
    root = str(folder / "data")
    assert main(["data", "prepare", "--suite", str(suite), "--data-root", root]) == 0
    return folder


@pytest.fixture
def suite(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, for tests that damage it."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    return tmp_path / "suite.toml"


def prepared(suite: Path) -> Path:
    return suite.parent / "data" / "prepared" / "small" / "cifar100" / "lossless"


def check(suite: Path, *more: str) -> int:
    root = str(suite.parent / "data")
    return main(["data", "check", "--suite", str(suite), "--data-root", root, *more])


def resign(folder: Path, **facts: object) -> None:
    """Change the card, and write a manifest that matches it and all other files."""
    card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    (folder / MANIFEST_FILE).unlink()
    writer.write_card(folder, card | facts)


def vouch(folder: Path, content: str) -> None:
    """Write a card, with a manifest that matches it."""
    resign(folder)
    (folder / CARD_FILE).write_text(content, encoding="utf-8")
    manifest = folder / MANIFEST_FILE
    lines = [
        line for line in manifest.read_text(encoding="utf-8").splitlines() if CARD_FILE not in line
    ]
    lines.append(f"{files.sha256_of_file(folder / CARD_FILE)}  {CARD_FILE}")
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("deep", [(), ("--deep",)], ids=["", "deep"])
def test_what_was_just_prepared_is_sound(
    whole: Path, capsys: Capture, deep: tuple[str, ...]
) -> None:
    assert check(whole / "suite.toml", *deep) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.splitlines()[-1] == "cifar (lossless): sound"
    assert said.out.startswith("W-COVERAGE cifar/train")


def flipped(folder: Path) -> None:
    """One bit in the middle of the images."""
    tar = folder / "images-000.tar"
    row = read_entries(folder, "cifar", "val")[0]
    content = bytearray(tar.read_bytes())
    content[row.offset + row.size // 2] ^= 1
    tar.write_bytes(content)


def edited(folder: Path) -> None:
    path = folder / "cifar.train.tsv"
    label, _, rest = path.read_text(encoding="utf-8").partition("\t")
    path.write_text(f"{(int(label) + 1) % 100}\t{rest}", encoding="utf-8")


def card_changed(folder: Path) -> None:
    path = folder / CARD_FILE
    path.write_text(
        path.read_text(encoding="utf-8").replace("lossless", "jpeg75"), encoding="utf-8"
    )


def cut(folder: Path) -> None:
    tar = folder / "images-000.tar"
    tar.write_bytes(tar.read_bytes()[:-1000])


def unsigned(folder: Path) -> None:
    manifest = folder / MANIFEST_FILE
    lines = [
        line
        for line in manifest.read_text(encoding="utf-8").splitlines()
        if "cifar.val" not in line
    ]
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")


FAULTS: dict[str, tuple[Change, str]] = {
    "an edited list": (edited, "E-MANIFEST {}/cifar.train.tsv is not the file that was prepared"),
    "a list that is not text": (
        lambda at: (at / "cifar.train.tsv").write_bytes(b"\xff"),
        "E-MANIFEST {}/cifar.train.tsv is not the file that was prepared",
    ),
    "a missing list": (
        lambda at: (at / "cifar.train.tsv").unlink(),
        "E-MANIFEST {}/cifar.train.tsv cannot be read: No such file",
    ),
    "a list that the manifest lacks": (unsigned, "E-MANIFEST {}/cifar.val.tsv is not the file"),
    "a tar cut short": (cut, "E-MANIFEST {}/images-000.tar has "),
    "a missing tar": (
        lambda at: (at / "images-000.tar").unlink(),
        "E-MANIFEST {}/images-000.tar has 0 bytes; ",
    ),
    "an edited card": (card_changed, "E-MANIFEST {}/card.json is not the file that was prepared"),
    "a missing card": (
        lambda at: (at / "card.json").unlink(),
        "E-MANIFEST {}/card.json cannot be read: No such file",
    ),
    "a damaged card": (
        lambda at: vouch(at, '{"format": 1,'),
        "E-MANIFEST {}/card.json is not JSON: ",
    ),
    "a card that is a list": (lambda at: vouch(at, "[1]"), "{} has format None; this version"),
    "a card without what it should say": (
        lambda at: vouch(at, '{"format": 1}'),
        "E-MANIFEST {}/card.json does not say",
    ),
    "a card of the wrong kind": (
        lambda at: vouch(at, '{"format": 1, "tars": 5, "variant": [], "certificates": "no"}'),
        "E-MANIFEST {}/card.json does not say",
    ),
    "a missing manifest": (
        lambda at: (at / "MANIFEST.sha256").unlink(),
        "E-MANIFEST {}/MANIFEST.sha256 cannot be read: No such file",
    ),
    "a manifest that is not text": (
        lambda at: (at / "MANIFEST.sha256").write_bytes(b"\xff\xfe"),
        "E-MANIFEST {}/MANIFEST.sha256 cannot be read: it is not text",
    ),
    "a manifest that is a folder": (
        lambda at: ((at / "MANIFEST.sha256").unlink(), (at / "MANIFEST.sha256").mkdir()),
        "E-MANIFEST {}/MANIFEST.sha256 cannot be read: Is a directory",
    ),
    "another version's format": (
        lambda at: resign(at, format=99),
        "{} has format 99; this version reads 1",
    ),
    "a variant that its images are not": (
        lambda at: resign(at, variant="jpeg75"),
        "E-VARIANT {}: its card says jpeg75",
    ),
}


@pytest.mark.sample(8)
@pytest.mark.parametrize("deep", [(), ("--deep",)], ids=["", "deep"])
@pytest.mark.parametrize("fault", FAULTS)
def test_damage_is_one_sentence_that_names_the_file(
    suite: Path, capsys: Capture, fault: str, deep: tuple[str, ...]
) -> None:
    change, says = FAULTS[fault]
    change(prepared(suite))
    assert check(suite, *deep) == 1
    said = capsys.readouterr()
    assert said.err.startswith("bench: " + says.format(prepared(suite)))
    assert said.err.count("\n") == 1
    assert "cifar (lossless): 1 rules broken" in said.out


def test_a_flipped_bit_is_found_and_a_deep_check_says_in_which_image(
    suite: Path, capsys: Capture
) -> None:
    assert check(suite) == 0  # what is remembered of the tar is not believed of another
    flipped(prepared(suite))
    key = read_entries(prepared(suite), "cifar", "val")[0].key
    says = f"E-MANIFEST {prepared(suite)}/images-000.tar: its bytes have changed since it was"
    assert check(suite) == 1
    [said] = capsys.readouterr().err.splitlines()
    assert said == f"bench: {says} prepared"
    assert check(suite, "--deep") == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"bench: {says} prepared"
    assert said[1].endswith(f"train/{key}: its bytes are another image's")
    assert len(said) == 2


def test_a_card_that_certifies_no_split_is_named(suite: Path, capsys: Capture) -> None:
    resign(prepared(suite), certificates={})
    assert check(suite) == 1
    said = f"E-MANIFEST {prepared(suite)}/card.json certifies no split of cifar"
    assert said in capsys.readouterr().err


def test_rules_are_held_to_what_lies_there(suite: Path, capsys: Capture) -> None:
    """The suite's card has rules that the data break: here, other counts."""
    text = suite.read_text(encoding="utf-8")
    suite.write_text(
        text.replace("counts = {  }", "counts = { train = [800], test = [10000] }"),
        encoding="utf-8",
    )
    assert suite.read_text(encoding="utf-8") != text
    assert check(suite) == 1
    said = capsys.readouterr().err
    assert "E-COUNT cifar/train: " in said
    assert "E-COUNT cifar/test: " in said


def test_jpeg_files_in_a_lossless_variant_are_found(tmp_path: Path, capsys: Capture) -> None:
    suite = suite_copies.suite(tmp_path)
    copy = suite_copies.write_noah(tmp_path / "copy", ["light"])
    assert suite_copies.bring(tmp_path, copy) == 0
    folder = tmp_path / "data" / "prepared" / "copied" / "light"
    (folder / "jpeg75").rename(folder / "lossless")
    resign(folder / "lossless", variant="lossless")
    capsys.readouterr()
    assert check(suite) == 1
    assert "E-VARIANT light/train: JPEG of quality 75 found in" in capsys.readouterr().err


def test_other_pixels_than_where_it_was_prepared_are_a_warning(
    suite: Path, capsys: Capture
) -> None:
    card = json.loads((prepared(suite) / CARD_FILE).read_text(encoding="utf-8"))
    card["certificates"]["cifar"]["test"] = "0" * 16
    resign(prepared(suite), **card)
    assert check(suite, "--deep") == 0
    assert (
        "W-PIXELS cifar: images decode to other pixels here than where" in capsys.readouterr().out
    )


def test_copies_are_checked_in_each_variant(tmp_path: Path, capsys: Capture) -> None:
    suite = suite_copies.suite(tmp_path)
    suite_copies.write_noah(tmp_path / "data" / "copies", ["light"])
    for saved in ({}, {"format": "PNG"}):
        copy = suite_copies.write_noah(tmp_path / str(len(saved)), **saved)
        assert suite_copies.bring(tmp_path, copy) == 0
    capsys.readouterr()
    assert check(suite, "--deep") == 0
    kinds = ["light (lossless)", "light (jpeg75)", "light (as found)"]
    said = [f"{kind}: sound" for kind in [*kinds, "dark (lossless)", "dark (jpeg75)"]]
    assert capsys.readouterr().out.splitlines() == said
    assert check(suite, "--variant", "jpeg75", "--tasks", "dark") == 0
    assert capsys.readouterr().out == "dark (jpeg75): sound\n"


def test_a_folder_as_found_is_checked_too(tmp_path: Path, capsys: Capture) -> None:
    tiny.write_all(tmp_path)
    card = tmp_path / "tiny.toml"
    assert check(card, "--deep") == 0
    assert capsys.readouterr().out == "light (as found): sound\ndark (as found): sound\n"
    (tmp_path / "data" / "light" / "val.txt").write_text("images/val/9.png 0\n", encoding="utf-8")
    assert check(card) == 1
    said = capsys.readouterr()
    assert "val.txt:1: no image " in said.err
    assert said.out == "light (as found): 1 rules broken\ndark (as found): sound\n"


def test_an_image_as_found_that_cannot_be_decoded_is_found_by_a_deep_check(
    tmp_path: Path, capsys: Capture
) -> None:
    tiny.write_all(tmp_path)
    image = tmp_path / "data" / "light" / "images" / "test" / "5.png"
    image.write_bytes(image.read_bytes()[:-200])
    assert check(tmp_path / "tiny.toml") == 0
    assert check(tmp_path / "tiny.toml", "--deep") == 1
    assert f"test.txt:6: {image} cannot be decoded" in capsys.readouterr().err
    image.write_text("<html>", encoding="utf-8")
    assert check(tmp_path / "tiny.toml") == 1
    assert f"test.txt:6: {image} is not an image" in capsys.readouterr().err


def floats(file: Path) -> None:
    Image.fromarray(np.ones((8, 8), np.float32)).save(file, format="TIFF")


FLOATS = "its pixels are floats, whose black and white are not known"


def test_what_a_run_would_refuse_of_a_folder_as_found_is_found(
    tmp_path: Path, capsys: Capture
) -> None:
    tiny.write_all(tmp_path)
    image = tmp_path / "data" / "light" / "images" / "test" / "5.png"
    floats(image)
    for deep in ((), ("--deep",)):
        assert check(tmp_path / "tiny.toml", *deep) == 1
        said = capsys.readouterr().err
        assert f"test.txt:6: {image} " in said
        assert FLOATS in said


def test_what_a_run_would_refuse_is_neither_brought_in_nor_sound(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder prepared by a version that did not refuse it may contain it all the same."""
    suite = suite_copies.suite(tmp_path)
    copy = suite_copies.write_noah(tmp_path / "copy", ["dark"])
    floats(copy / "pets" / "images" / "test" / "000002.jpg")
    assert suite_copies.bring(tmp_path, copy) == 1
    assert f"E-DECODE pets/images/test/000002.jpg: {FLOATS}" in capsys.readouterr().err
    assert suite_copies.brought_in(tmp_path) == []
    monkeypatch.setattr(writer, "_image_suffix", lambda *_: "tif")
    monkeypatch.setattr(build, "certificate", lambda _: "")
    assert suite_copies.bring(tmp_path, copy) == 0
    monkeypatch.undo()
    capsys.readouterr()
    for deep in ((), ("--deep",)):
        assert check(suite, *deep) == 1
        assert "pets/images/test/000002.jpg" in (said := capsys.readouterr().err)
        assert FLOATS in said


def test_what_images_say_and_is_not_heeded_is_a_warning_of_a_deep_check(
    tmp_path: Path, capsys: Capture
) -> None:
    tiny.write_all(tmp_path)
    images = tmp_path / "data" / "light" / "images" / "train"
    exif = Image.Exif()
    exif[274] = 3  # upside down
    for name in ("3.png", "5.png"):
        with Image.open(images / name) as image:
            image.save(images / name, exif=exif)
    with Image.open(images / "0.png") as first, Image.open(images / "1.png") as second:
        first.save(images / "0.png", save_all=True, append_images=[second])
    assert check(tmp_path / "tiny.toml", "--tasks", "light") == 0
    assert capsys.readouterr().out == "light (as found): sound\n"
    assert check(tmp_path / "tiny.toml", "--tasks", "light", "--deep") == 0
    assert capsys.readouterr().out.splitlines() == [
        "W-TURNED light/train: 2 of 36 images have an orientation tag, which turns nothing here",
        "W-FRAMES light/train: 1 of 36 images have several frames, of which the first counts",
        "light (as found): sound",
    ]


def test_nothing_to_check_is_bad_input(tmp_path: Path, capsys: Capture) -> None:
    suite = suite_copies.suite(tmp_path)
    assert check(suite) == 2
    assert capsys.readouterr().err == f"bench: no task of copied lies in {tmp_path / 'data'}\n"
    assert check(suite, "--tasks", "lihgt") == 2
    assert "did you mean light?" in capsys.readouterr().err


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_on_damaged_data_is_refused_in_one_sentence(
    suite: Path, capsys: Capture, fault: str
) -> None:
    change, says = FAULTS[fault]
    change(prepared(suite))
    words = ["--suite", str(suite), "--data-root", str(suite.parent / "data"), "--device", "cpu"]
    assert main(["run", *words, "--results", str(suite.parent / "results")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("bench: " + says.format(prepared(suite)))
    assert said.count("\n") == 1
