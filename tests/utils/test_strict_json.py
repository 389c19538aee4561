"""JSON of strangers."""

import pytest

from bench.utils import strict_json


def test_plain_json_is_read():
    assert strict_json.parse('{"a": [1, 2.5, null, {"a": "b"}]}') == {
        "a": [1, 2.5, None, {"a": "b"}]
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "the entry 'a' is listed twice"),
        ('[{"x": {"y": 1, "y": 1}}]', "the entry 'y' is listed twice"),
        ("NaN", "NaN is no number of JSON"),
        ('{"a": -Infinity}', "-Infinity is no number of JSON"),
        ("1e999", "'1e999' is not a finite number"),
        ("9" * 5000, "Exceeds the limit"),
        ("[" * 100_000, "it is nested too deeply"),
        ("{", "Expecting property name"),
        ("", "Expecting value"),
        (b'"\xff"', "can't decode"),
    ],
)
def test_what_is_broken_or_ambiguous_is_refused(text, says):
    with pytest.raises(ValueError, match=says):
        strict_json.parse(text)
