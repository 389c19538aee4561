"""The text of split lists: encodings, line endings, blank lines, spaces in names."""

import codecs
import json
import os
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.config.recipe import load_recipe
from bench.config.suite import load_suite
from bench.data import locations
from bench.utils.errors import UserError
from support import suite_copies, tiny
from support.time_limits import in_time


def read(content: bytes, name: str = "train.txt") -> list[tuple[str, str]]:
    found = locations.read_list("folder", name, lambda _: content)
    return [(image, label) for image, label, _ in found]


PLAIN = [("a.png", "0"), ("b.png", "1")]
ACCEPTED = {
    "as it should be": b"a.png 0\nb.png 1\n",
    "no end of the last line": b"a.png 0\nb.png 1",
    "a mark before it": codecs.BOM_UTF8 + b"a.png 0\nb.png 1\n",
    "lines that end as on Windows": b"a.png 0\r\nb.png 1\r\n",
    "lines that end as on an old Mac": b"a.png 0\rb.png 1\r",
    "blank lines at the end": b"a.png 0\nb.png 1\n\n \r\n\t\n",
    "spaces and tabs behind labels": b"a.png 0 \nb.png 1\t \n",
    "tabs before labels": b"a.png\t0\nb.png \t 1\n",
    "spaces before paths": b"  a.png 0\n\tb.png 1\n",
}


@pytest.mark.parametrize("form", ACCEPTED)
def test_a_list_of_this_form_is_read(form: str) -> None:
    assert read(ACCEPTED[form]) == PLAIN


@pytest.mark.parametrize("separator", [" ", "\t"])
def test_a_path_may_hold_spaces(separator: str) -> None:
    assert read(f"my shells/a b.png{separator}1\n".encode()) == [("my shells/a b.png", "1")]


def test_a_path_may_hold_what_is_no_end_of_a_line() -> None:
    name = "a\u2028b\x0cc\x85.png"
    assert read(f"{name} 1\n".encode()) == [(name, "1")]


def test_an_empty_list_has_no_images() -> None:
    assert read(b"") == read(b"\n\n") == read(codecs.BOM_UTF8) == []


def test_a_blank_line_among_others_is_refused_by_its_number() -> None:
    with pytest.raises(UserError, match=r"train\.txt:2: expected a path and a label, got ''"):
        read(b"a.png 0\n\nb.png 1\n")


@pytest.mark.parametrize("kind", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("name", ["train.txt", "train.json"])
def test_wide_text_is_one_sentence(kind: str, name: str) -> None:
    with pytest.raises(UserError, match=r"the list file folder/train.* save it as UTF-8$"):
        read('{"a.png": 0}'.encode(kind), name)


def test_bytes_that_are_no_text_are_one_sentence() -> None:
    with pytest.raises(UserError, match=r"cannot be read: it is not UTF-8 text: "):
        read(b"caf\xe9.png 0\n")


def test_json_may_have_a_mark_before_it() -> None:
    assert read(codecs.BOM_UTF8 + b'{"a.png": 0, "b.png": "1"}', "train.json") == PLAIN


def test_an_image_that_stands_twice_in_json_is_there_twice() -> None:
    """Python's reader keeps the last without a word."""
    assert read(b'{"a.png": 0, "a.png": 1}', "train.json") == [("a.png", "0"), ("a.png", "1")]


def test_cards_may_have_a_mark_before_them(tmp_path: Path) -> None:
    card = tiny.suite_card(tmp_path / "tiny.toml", tmp_path / "none.toml")
    card.write_bytes(codecs.BOM_UTF8 + card.read_bytes().replace(b"\n", b"\r\n"))
    assert load_suite(str(card)).name == "tiny"


def test_a_card_in_wide_text_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('name = "mine"', encoding="utf-16")
    with pytest.raises(UserError, match=r"the recipe card .*mine\.toml cannot be read: .* UTF-8$"):
        load_recipe(str(tmp_path / "mine.toml"))


def test_a_copy_with_a_mark_before_its_lists_is_brought_in(tmp_path: Path) -> None:
    suite_copies.suite(tmp_path)
    copy = suite_copies.write_noah(tmp_path / "vtab-1k")
    for path in copy.rglob("*.txt"):
        path.write_bytes(codecs.BOM_UTF8 + path.read_bytes().replace(b"\n", b"\r\n"))
    assert suite_copies.bring(tmp_path, suite_copies.zipped(copy, tmp_path / "vtab-1k.zip")) == 0


def test_an_image_of_two_classes_in_json_is_refused_by_an_import(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite_copies.suite(tmp_path, suite_copies.FGVC)
    copy = suite_copies.write_fgvc(tmp_path / "fgvc", ["dark"])
    path = copy / "pets" / "val.json"
    first = json.dumps({"val/000000.jpg": 300})[:-1]
    path.write_text(f"{first}, {path.read_text(encoding='utf-8')[1:]}", encoding="utf-8")
    assert suite_copies.bring(tmp_path, copy) == 1
    assert "1 images have two labels: val/000000.jpg is 1 (" in capsys.readouterr().err


# Lists of strangers


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"a": ' + b"9" * 5000 + b"}", "cannot be read: Exceeds the limit"),
        (b"[" * 100_000, "cannot be read: it is nested too deeply"),
        (b'{"a\\u0000b.png": 0}', r"expected the path of an image, got 'a\\x00b.png'"),
        (b'{"a\\ud800.png": 0}', r"expected the path of an image, got 'a\\ud800.png'"),
        (b'{"' + b"a" * 5000 + b'": 0}', r"expected the path of an image, got 'aaa[^ ]* \.\.\. "),
        (b"[1, 2]", "holds a list, not classes by image"),
        (b'{"a": NaN', "cannot be read"),
    ],
    ids=["digits", "nesting", "zero byte", "surrogate", "long name", "a list", "NaN"],
)
def test_json_that_is_made_to_harm_is_one_sentence(content: bytes, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        read(content, "train.json")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_line_is_cut_where_a_message_shows_it() -> None:
    with pytest.raises(UserError, match=r"expected a path and a label, got 'xxx[^ ]* \.\.\. "):
        read(b"x" * 10_000)


@pytest.mark.parametrize("label", ["1" + "0" * 400, "9" * 10_000, "-1", "1.0", "1e3", "\u00b2"])
def test_a_label_is_a_whole_number_of_some_digits(tmp_path: Path, label: str) -> None:
    suite = load_suite(str(tiny.suite_card(tmp_path / "tiny.toml", tmp_path / "none.toml")))
    entries = [("a.png", label, "train.txt:1")]
    with pytest.raises(UserError, match=r"^train\.txt:1: label '[^\n]{1,100}; expected a whole"):
        locations.class_numbers(suite, suite.task[0], "folder", lambda _: b"", entries)


@pytest.mark.parametrize("name", ["train.txt", "train.json"])
def test_a_list_of_too_many_images_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(locations, "MAX_LIST_ENTRIES", 2)
    few = {"train.txt": b"a 0\nb 1\n", "train.json": b'{"a": 0, "b": 1}'}
    many = {"train.txt": b"a 0\nb 1\r\nc 1\rd 1", "train.json": b'{"a": 0, "b": 1, "c": 1}'}
    assert len(read(few[name], name)) == 2
    with pytest.raises(UserError, match=r"cannot be read: it has \d entries; at most 2 are read"):
        read(many[name], name)


@pytest.mark.parametrize("kind", ["a FIFO", "endless zeros"])
def test_a_list_that_is_no_file_is_no_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    tiny.write_all(tmp_path)
    path = tmp_path / "data" / "light" / "train.txt"
    path.unlink()
    os.mkfifo(path) if kind == "a FIFO" else path.symlink_to("/dev/zero")
    words = tiny.command("run", tmp_path, tmp_path / "results", "linear")
    assert in_time(lambda: main(words)) == 2
    said = capsys.readouterr().err
    assert f"the list file {path} cannot be read: it is not a regular file" in said


@pytest.mark.parametrize("line", ["images/train/0.png/x 0", "x" * 300 + "/y.png 0", "a\u00e9/b 1"])
def test_a_path_to_nothing_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    tiny.write_all(tmp_path)
    path = tmp_path / "data" / "light" / "train.txt"
    path.write_text(path.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    assert main(tiny.command("run", tmp_path, tmp_path / "results", "linear")) == 2
    assert "train.txt:37: no image " in capsys.readouterr().err


def not_utf8(folder: Path) -> Path:
    return Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9"))


def test_data_in_a_folder_whose_name_is_not_utf8_are_refused_before_compute(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A record names the folder; such a record could not be read."""
    tiny.write_all(tmp_path)
    odd = not_utf8(tmp_path)
    (tmp_path / "data").rename(odd)
    words = tiny.command("run", tmp_path, tmp_path / "results", "linear")
    assert main([str(odd) if word == str(tmp_path / "data") else word for word in words]) == 2
    assert rf"{tmp_path}/caf\xe9 is not UTF-8" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_run_may_be_in_a_folder_whose_name_is_not_utf8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.write_all(tmp_path)
    odd = not_utf8(tmp_path)
    odd.mkdir()
    (tmp_path / "data").rename(odd / "data")
    monkeypatch.chdir(odd)
    words = tiny.command("run", tmp_path, tmp_path / "results", "linear")
    assert main(["data" if word == str(tmp_path / "data") else word for word in words]) == 0
