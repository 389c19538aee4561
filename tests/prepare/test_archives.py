"""Archives that are no longer published: a folder or any archive of the same files is accepted."""

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.config.suite import SourceFile, load_source
from bench.data import prepared
from bench.prepare.archives import read_images_by_path_end
from bench.utils.errors import UserError
from support import fake_archives, small_suite

Pack = Callable[[Path, Path], object]


def packed(name: str, top: str) -> Pack:
    """The images in an archive of that name, below that folder."""

    def pack(images: Path, archives: Path) -> None:
        kind = {"zip": "zip", "tar": "tar", "gz": "gztar", "xz": "xztar"}[name.rpartition(".")[2]]
        whole = archives / "whole"
        shutil.move(images, whole / top)
        made = shutil.make_archive(str(archives / "made"), kind, whole)
        shutil.rmtree(whole)
        Path(made).rename(archives / name)

    return pack


PACKS: dict[str, Pack] = {
    "a folder": lambda images, archives: images.rename(archives / "SUN397"),
    "a folder called as the archive": lambda images, archives: images.rename(
        archives / "SUN397.tar.gz"
    ),
    "a folder in a folder": lambda images, archives: shutil.move(
        images, archives / "SUN397" / "SUN397"
    ),
    "an archive of one's own": packed("SUN397.tar.gz", "SUN397"),
    "a plain tar": packed("SUN397.tar", "SUN397"),
    "a tar packed otherwise": packed("SUN397.tar.xz", "SUN397"),
    "a zip": packed("SUN397.zip", "SUN397"),
    "a zip of what is in the folder": packed("SUN397.zip", "."),
    "a zip with folders above": packed("SUN397.zip", "raw/images/SUN397"),
}


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    """The folder of a small SUN397's archives; its images are extracted to `images`."""
    pytest.importorskip("cv2", reason="SUN397 is preprocessed by OpenCV")
    small_suite.write(tmp_path, "sun397")
    folder = tmp_path / "data" / "archives" / "sun397"
    with tarfile.open(folder / "SUN397.tar.gz") as file:
        file.extractall(tmp_path / "out", filter="data")
    for path in (tmp_path / "out").rglob("*.jpg"):
        path.touch()  # a zip has no time before 1980
    (folder / "SUN397.tar.gz").unlink()
    (tmp_path / "out" / "SUN397").rename(tmp_path / "images")
    return folder


def prepare(folder: Path) -> int:
    words = ("--suite", str(folder / "suite.toml"), "--data-root", str(folder / "data"))
    return main(["data", "prepare", *words])


@pytest.mark.parametrize("form", PACKS)
def test_sun397_is_prepared_from_its_images_however_they_are_packed(
    archives: Path, tmp_path: Path, form: str
) -> None:
    PACKS[form](tmp_path / "images", archives)
    assert prepare(tmp_path) == 0
    folder = tmp_path / "data" / "prepared" / "small" / "sun397" / "lossless"
    said = prepared.read_card(folder)["archives"]["SUN397.tar.gz"]
    assert said == "repacked: its files by name"


def test_an_image_that_is_not_in_it_is_named(
    archives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = next(iter(fake_archives.SUN397)).lstrip("/")
    (tmp_path / "images" / lost).unlink()
    (tmp_path / "images").rename(archives / "SUN397")
    assert prepare(tmp_path) == 1
    assert f"1 of 3 images are missing: {lost}" in capsys.readouterr().err


def test_an_image_that_does_not_decode_is_named(
    archives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = next(iter(fake_archives.SUN397)).lstrip("/")
    (tmp_path / "images" / broken).write_text("<html>quota</html>", encoding="utf-8")
    (tmp_path / "images").rename(archives / "SUN397")
    assert prepare(tmp_path) == 1
    assert broken in capsys.readouterr().err


def test_an_image_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    for top in ("one", "two"):
        (tmp_path / "all" / top / "a").mkdir(parents=True)
        (tmp_path / "all" / top / "a" / "x.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match=r"one image is there as one/a/x\.jpg and as two/a/x\.jpg"):
        list(read_images_by_path_end(tmp_path / "all", {"a/x.jpg": 0}))


@pytest.mark.parametrize("source", ["sun397", "stanfordcars"])
def test_no_checksum_is_asked_of_what_may_be_repacked(source: str) -> None:
    card = load_source(source)
    assert card.access == "dead"
    assert [file.name for file in card.file if file.repacked]
    with pytest.raises(ValueError, match="so it has no bytes and no hash"):
        type(card)(
            **vars(card) | {"file": [SourceFile("a.zip", bytes=1, how="ask", repacked=True)]}
        )
