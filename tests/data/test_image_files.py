"""The door for image files: which formats, which files, and how much work a file may ask for."""

import io
import os
import socket
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.cli.main import main
from bench.data import image_files, images
from bench.data.image_files import DECODE_ERRORS
from support import hostile_images, raw_image_files, tiny
from support.hostile_images import png_chunk
from support.time_limits import in_time

READ = {"JPEG": {}, "PNG": {}, "GIF": {}, "BMP": {}, "TIFF": {}, "WEBP": {}, "PPM": {}}
READ |= {"JPEG2000": {}, "MPO": {"save_all": True, "append_images": [Image.new("RGB", (5, 3))]}}
NOT_READ = ["EPS", "PDF", "ICO", "ICNS", "TGA", "PCX", "SGI", "DDS", "DIB"]
DOORS = [images.decode, images.size, images.require_readable, images.has_several_frames]
LOOPING_POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n"


def saved(kind: str, mode: str = "RGB", **how: object) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (5, 3), 1).save(stream, kind, **how)  # type: ignore[arg-type]
    return stream.getvalue()


def complaint(look: object, *given: object) -> str:
    """The sentence with which a call refuses what is given, in time."""
    with pytest.raises(DECODE_ERRORS) as caught:
        in_time(lambda: look(*given))  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", READ)
def test_this_format_is_read_from_bytes_and_from_files(tmp_path, kind):
    content = saved(kind, **READ[kind])
    assert images.size(content) == (3, 5)
    assert tuple(images.decode(content).shape) == (3, 3, 5)
    (tmp_path / "x.png").write_bytes(content)
    images.require_readable(tmp_path / "x.png")
    image_files.require_known_format(content)


def unread(kind: str) -> bytes:
    """A file of a format that Pillow reads and writes, and that is not read here."""
    if kind == "PostScript":
        return LOOPING_POSTSCRIPT
    if kind == "FITS":
        return raw_image_files.fits(np.zeros((6, 4), np.uint16))
    stream = io.BytesIO()
    Image.new("RGB", (16, 16)).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PostScript", "FITS", *NOT_READ])
def test_this_format_is_refused_however_the_file_is_called(tmp_path, kind):
    content = unread(kind)
    (tmp_path / "x.png").write_bytes(content)
    for look in DOORS:
        given = tmp_path / "x.png" if look is images.require_readable else content
        assert "expected one of JPEG, PNG, GIF, BMP, TIFF, WEBP" in complaint(look, given)
    with pytest.raises(ValueError, match="expected one of JPEG"):
        image_files.require_known_format(content)


@pytest.mark.parametrize(
    ("content", "says"),
    {
        LOOPING_POSTSCRIPT: "it is PostScript; expected one of",
        b"\n<!DOCTYPE html><title>404": "it is a web page; expected one of",
        b"version https://git-lfs.github.com/spec/v1\noid": "it is a Git LFS pointer; expected",
        b"\x1f\x8b\x08\0": "it is a gzip file; expected",
        b"\0\0\0\x20ftypheic": "it is AVIF or HEIC; expected",
        b"hello": "it begins with b'hello'; expected",
        b"": "it is empty; expected",
        b"\x89PNG\r\n\x1a\n": "the header of this PNG file is broken",
    }.items(),
)
def test_what_is_no_image_is_described(content, says):
    assert complaint(images.require_readable, content).startswith(says)


# What is no regular file


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def make_sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


NO_FILES = {
    "a FIFO": (make_fifo, "it is not a regular file"),
    "endless zeros": (lambda path: path.symlink_to("/dev/zero"), "it is not a regular file"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "Too many levels of symbolic"),
    "a link to nothing": (lambda path: path.symlink_to("nowhere"), "No such file"),
    "a folder": (lambda path: path.mkdir(), "Is a directory"),
    "a terabyte": (make_sparse, "it is larger than 536,870,912 bytes"),
}


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_image_file_is_refused_at_once(tmp_path, kind):
    make, says = NO_FILES[kind]
    make(tmp_path / "x.png")
    for look in (images.require_readable, image_files.read_image_file):
        assert complaint(look, tmp_path / "x.png").startswith(says)


def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the address of a socket is short
    make_socket(Path("x.png"))
    assert complaint(image_files.read_image_file, Path("x.png")) == "it is not a regular file"


def test_a_name_that_no_file_has_is_refused():
    for name in ("a\0b", "\ud800"):
        assert complaint(image_files.read_image_file, Path(name)) == "this is not a valid file name"


def test_a_link_to_an_image_is_one(tmp_path):
    (tmp_path / "x").write_bytes(saved("PNG"))
    (tmp_path / "y.png").symlink_to("x")
    images.require_readable(tmp_path / "y.png")
    assert image_files.read_image_file(tmp_path / "y.png") == saved("PNG")


@pytest.mark.sample(6)
@pytest.mark.parametrize("kind", ["a FIFO", "endless zeros", "a folder", "a terabyte", "a page"])
@pytest.mark.parametrize("act", ["run", "check", "check --deep", "import"])
def test_every_command_refuses_it_in_one_sentence(tmp_path, capsys, kind, act):
    tiny.write_all(tmp_path)
    odd = tmp_path / "data" / "light" / "images" / "train" / "3.png"
    odd.unlink()
    if kind == "a page":
        odd.write_bytes(LOOPING_POSTSCRIPT)
    else:
        NO_FILES[kind][0](odd)
    root, card = str(tmp_path / "data"), str(tmp_path / "tiny.toml")
    about = ["--suite", card, "--tasks", "light"]
    words = {
        "run": tiny.command("run", tmp_path, tmp_path / "results", "linear"),
        "check": ["data", "check", *about, "--data-root", root],
        "check --deep": ["data", "check", "--deep", *about, "--data-root", root],
        "import": ["data", "import", root, *about, "--data-root", str(tmp_path / "new")],
    }
    assert in_time(lambda: main(words[act])) == (2 if act == "run" else 1)
    said = capsys.readouterr().err
    assert "3.png" in said
    assert "Traceback" not in said


# Work and memory


HUGE = zlib.compress(bytes(2 * 2**20), 9)
BOMBS = {
    "png of many pixels": (hostile_images.png(30_000, 30_000), "more than 178,956,970 pixels"),
    "ppm of many pixels": (b"P6 60000 60000 255\n", "more than 178,956,970 pixels"),
    "bmp of many pixels": (
        saved("BMP")[:18] + b"\x60\xea\0\0" * 2 + saved("BMP")[26:], "178,956,970"),
    "gif whose frame is beyond its screen": (
        hostile_images.gif(place=(60_000, 60_000), size=(65_535, 65_535)), "178,956,970"),
    "png that is a line": (hostile_images.png(1, 20_000), "a side of at most 1,000 times"),
    "png without pixels": (hostile_images.png(0, 4), "is broken"),
    "png with a large profile": (
        hostile_images.png(1, 1, png_chunk(b"iCCP", b"x\0\0" + HUGE)), "too large"),
    "png with a large text": (
        hostile_images.png(1, 1, png_chunk(b"zTXt", b"x\0\0" + HUGE)), "too large"),
    "png of many chunks": (
        hostile_images.png(1, 1, png_chunk(b"xxXx") * 30_000), "too many parts"),
    "gif with a long comment": (
        hostile_images.gif(hostile_images.gif_comment(30_000)), "too many parts"),
    "ppm with a long comment": (b"P6\n#" + b"x" * 30_000, "too many parts"),
    "jpeg of many segments": (b"\xff\xd8\xff" + b"\xe5\0\x02\xff" * 30_000, "too many parts"),
    "tiff of many entries": (
        hostile_images.tiff([(256, 3, 4)] * 30_000), "too many parts"),
    "bigtiff of many entries": (hostile_images.bigtiff(30_000), "too many parts"),
    "tiff of a large tile": (hostile_images.tiled_tiff(40_000), "its tiles have more than"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_by_its_header(tmp_path, kind):
    content, says = BOMBS[kind]
    (tmp_path / "x.jpg").write_bytes(content)
    for given in (content, tmp_path / "x.jpg"):
        assert says in complaint(images.require_readable, given)


def test_a_jpeg_of_many_scans_is_refused_and_one_of_a_few_is_read():
    assert images.decode(hostile_images.scanned_jpeg(1, side=64)).shape == (3, 64, 64)
    assert "scans of 4,000,000 pixels" in complaint(
        images.decode, hostile_images.scanned_jpeg(5000)
    )


def test_a_film_behind_a_jpeg_is_not_taken_for_scans():
    """Phones append one to a picture; its bytes are any bytes."""
    photo = hostile_images.scanned_jpeg(0)
    assert images.size(photo + b"\xff\xda??" * 20_000) == (2000, 2000)


def test_chunks_behind_the_pixels_are_counted_too(monkeypatch):
    monkeypatch.setattr(image_files, "FREE_READS", 100)
    plain = hostile_images.png(1, 1)
    assert images.decode(plain).shape == (3, 1, 1)
    end = plain.index(b"IEND") - 4
    content = plain[:end] + png_chunk(b"xxXx") * 100 + plain[end:]
    assert "too many parts" in complaint(images.decode, content)


@pytest.mark.parametrize("frames", [2, 100_000])
def test_frames_are_not_counted_to_tell_that_there_are_several(frames):
    content = hostile_images.animation(frames)
    assert in_time(lambda: images.has_several_frames(content))
    assert images.decode(content).shape == (3, 4, 4)
    assert not images.has_several_frames(hostile_images.animation(1))


def test_directories_of_a_tiff_are_not_counted_either():
    many = hostile_images.tiff(hostile_images.BYTE_STRIP, directories=50_000)
    assert in_time(lambda: images.has_several_frames(many))
    assert not in_time(lambda: images.has_several_frames(hostile_images.looping_tiff()))
    assert images.decode(hostile_images.looping_tiff()).shape == (3, 4, 4)
