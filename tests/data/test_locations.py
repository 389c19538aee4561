"""The text of split lists: encodings, line endings, blank lines, spaces in names."""

import codecs
import json
from pathlib import Path

import pytest

from bench.config.recipe import load_recipe
from bench.config.suite import load_suite
from bench.data import locations
from bench.utils.errors import UserError
from support import suite_copies, tiny


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
