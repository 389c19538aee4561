"""Class folders: the order of torchvision, and links that lead in circles."""

import os

import pytest
from torchvision.datasets import ImageFolder

from bench.cli.main import main
from bench.data import class_folders
from bench.utils.errors import UserError
from support import tiny
from support.time_limits import in_time


def test_images_and_classes_come_in_torchvision_s_order(tmp_path):
    for name in ("b", "a", "a/c", "a-d", "B"):
        tiny.write_images(tmp_path / name, 12)
    (tmp_path / "a" / "0.PNG").write_bytes(b"")
    (tmp_path / "a" / "x.txt").write_bytes(b"")
    (tmp_path / "note.png").write_bytes(b"")
    (tmp_path / "link").symlink_to("b")
    found = [(str(path), label) for path, label in class_folders.list_images(tmp_path)]
    assert found == ImageFolder(str(tmp_path)).samples


def test_links_that_lead_in_circles_are_entered_once(tmp_path):
    """Two of them would be followed 2 to the power of 40 times."""
    tiny.write_images(tmp_path / "a", 2)
    for name in ("one", "two"):
        (tmp_path / "a" / name).symlink_to(".")
    (tmp_path / "a" / "itself.png").symlink_to("itself.png")
    (tmp_path / "a" / "itself").symlink_to("itself")
    found = in_time(lambda: class_folders.list_images(tmp_path))
    assert [path.name for path, _ in found] == ["0.png", "1.png", "itself.png"]


def test_what_is_no_class_is_named(tmp_path):
    with pytest.raises(UserError, match="holds no folder for each class"):
        class_folders.list_images(tmp_path)
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError, match=r"a holds no image file \(\.jpg, "):
        class_folders.list_images(tmp_path)
    with pytest.raises(UserError, match="nowhere cannot be read: No such file"):
        class_folders.list_images(tmp_path / "nowhere")


def test_too_many_images_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(class_folders, "MAX_FILES", 3)
    tiny.write_images(tmp_path / "a", 4)
    with pytest.raises(UserError, match="holds more than 3 images"):
        class_folders.list_images(tmp_path)


def test_an_image_that_is_none_is_one_sentence_in_pretraining(tmp_path, capsys):
    tiny.write_images(tmp_path / "images" / "a", 2)
    os.mkfifo(tmp_path / "images" / "a" / "x.png")
    words = ["--images", str(tmp_path / "images"), "--out", str(tmp_path / "weights")]
    assert in_time(lambda: main(["pretrain", "mae", *words])) == 2
    assert "x.png is not an image to learn from: it is not a regular" in capsys.readouterr().err
