"""TOML of strangers: hostile documents are refused at once, and ordinary ones read as ever."""

import tomllib
from pathlib import Path
from time import process_time

import pytest

from bench.utils import toml
from bench.utils.files import REPO_ROOT

MANY = 200_000
HOSTILE = {
    "nested arrays": "x = " + "[" * MANY,
    "nested tables": "x = " + "{a=" * MANY,
    "brackets of two kinds": "x = " + "[{" * MANY + "]}" * MANY,
    "brackets that do not match": "x = " + "[" * MANY + "}" + "]" * MANY,
    "nested headers": "[[" * MANY,
    "a key of many parts": "a" + ".a" * MANY + " = 1",
    "a key of many quoted parts": '"a".' * MANY + "a = 1",
    "a key of many spaced parts": "a . " * MANY + "a = 1",
    "a header of many parts": "[" + "a." * MANY + "a]",
    "many digits": "x = " + "9" * MANY,
    "many underscores": "x = 1" + "_1" * MANY,
    "many digits after the point": "x = 1." + "9" * MANY,
    "many hexadecimal digits": "x = 0x" + "f" * MANY,
    "a large exponent": "x = 1e" + "9" * MANY,
    "many quotes": '"' * MANY,
    "escapes without an end": '"' + '\\"' * MANY,
    "backslashes without an end": '"""' + "\\" * (MANY + 1),
    "brackets after a string of quotes": 'x = ["""a"""", ' + "[" * MANY,
    "brackets after a string of apostrophes": "x = ['''a'''', " + "[" * MANY,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_a_parser_would_take_for_ever_over_is_refused_at_once(text: str) -> None:
    start = process_time()
    with pytest.raises(toml.NotToml) as error:
        toml.parse(text)
    assert len(str(error.value)) < 500
    assert process_time() - start < 20  # it takes hundredths of a second; unbounded, minutes


@pytest.mark.parametrize(
    "text",
    ["x = {}", "x = [1, {}, [2], 3]", "x = [\n{}\n,\n]", "[[y]]\nz = {}", "x = [{}, '[[[[[[']"],
)
def test_tables_and_arrays_are_nested_sixteen_deep_at_most(text: str) -> None:
    """Of the document's own levels, at most one is around what is put in."""
    for depth, is_read in ((15, True), (17, False), (40, False)):
        for opened, closed in (("[", "]"), ("{a = ", "}")):
            filled = text.format(opened * depth + "1" + closed * depth)
            if is_read:
                assert toml.parse(filled) == tomllib.loads(filled)
            else:
                with pytest.raises(toml.NotToml, match="nests tables or arrays more than 16 deep"):
                    toml.parse(filled)


@pytest.mark.parametrize("text", ["x = [1, 2", "x = ]", "x = [}", "x = {]", "[[a]", "x = [1}]"])
def test_brackets_that_do_not_match_are_the_parsers_to_name(text: str) -> None:
    with pytest.raises(toml.NotToml, match=r"line 1|end of document"):
        toml.parse(text)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("1e400", "x is inf; a finite number was expected"),
        ("-inf", "x is -inf; a finite number was expected"),
        ("nan", "x is nan; a finite number was expected"),
        ("9223372036854775808", "x is a number of more than 64 bits"),
        ("1979-05-27", "x is a date or time, 1979-05-27; nothing here has one"),
        ("07:32:00", "x is a date or time"),
        ('"a\\u0000"', "x has a control character"),
        ('"a\\u001b[31m"', "x has a control character"),
        ("[1, {y = [nan]}]", r"x\.1\.y\.0 is nan"),
        ('{"\\u0007" = 1}', "x has a control character in a name"),
    ],
)
def test_a_value_that_no_card_holds_is_named_by_its_place(value: str, says: str) -> None:
    with pytest.raises(toml.NotToml, match=f"^{says}"):
        toml.parse(f"x = {value}")


def cards() -> list[Path]:
    return [path for top in ("bench", "datasets") for path in (REPO_ROOT / top).rglob("*.toml")]


@pytest.mark.parametrize("path", cards(), ids=lambda path: str(path.relative_to(REPO_ROOT)))
def test_the_projects_own_cards_read_as_any_parser_reads_them(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert toml.parse(text) == tomllib.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        'x = """[[[[[[[[[[[[[[[[[[[[[[[["""',
        "x = '''a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u'''",
        'x = "a\\"[[[[[[[[[[[[[[[[[[[[[[[["',
        "x = 1 # [[[[[[[[[[[[[[[[[[[[[[[[[[[",
        f'x = "{"9" * 100}"',
        "x = [" + "[], " * 1000 + "]",
        f"x = 0b{'1' * 30}",
        'x = """\na\tb\n"""',
    ],
)
def test_brackets_dots_and_digits_in_texts_and_comments_mean_nothing(text: str) -> None:
    assert toml.parse(text) == tomllib.loads(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("0.5", 0.5),
        ("true", True),
        ("squash", "squash"),
        ("0,1", "0,1"),
        ("", ""),
        ("[1, 2]", [1, 2]),
        ("{a = 1}", {"a": 1}),
        ("/a/b.c", "/a/b.c"),
        ("1\ny = 2", "1\ny = 2"),
    ],
)
def test_a_value_by_itself_is_a_value_or_a_bare_word(text: str, value: object) -> None:
    found = toml.parse_value(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["nan", "1e400", "9" * 5000, "[" * 5000, "2020-01-01", "a\x00"])
def test_a_value_that_no_field_has_is_refused(text: str) -> None:
    with pytest.raises(toml.NotToml):
        toml.parse_value(text)
