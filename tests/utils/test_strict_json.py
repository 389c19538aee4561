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
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' stands there twice"),
        ('[{"x": {"y": 1, "y": 1}}]', "the key 'y' stands there twice"),
        ("NaN", "NaN is not a finite number"),
        ('{"a": -Infinity}', "-Infinity is not a finite number"),
        ("1e999", "1e999 is not a finite number"),
        ("9" * 5000, "Exceeds the limit"),
        ("[" * 100_000, "it is nested too deeply"),
        ("{", "Expecting property name"),
        ("", "Expecting value"),
    ],
)
def test_what_is_broken_or_ambiguous_is_refused(text, says):
    with pytest.raises(strict_json.NotJson, match=says):
        strict_json.parse(text)
