"""Names: what may stand in a path, and what is said of the rest."""

import pytest

from bench.utils import names
from methods.shared import registry


@pytest.mark.parametrize(
    "name", ["digits", "spt_deep", "vit-b.16", "2024", "_x", "a" * 100, "a..b"]
)
def test_letters_digits_and_three_marks_make_a_name(name: str) -> None:
    assert names.name_problem(name) == ""
    assert names.name_problem(name, names.BACKBONE_NAME) == ""


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "/etc", "a/b", "a\\b", "-x", ".x", "a b", "a\n", "a\x00", "a\x1b[1m",
     "größe", "٣", "a" * 101, "a|b", "=1", "a\u202eb", 3, None, ["a"]],
)  # fmt: skip
def test_anything_else_is_none(name: object) -> None:
    problem = names.name_problem(name)
    assert "is no name: letters, digits" in problem
    assert problem.isascii()
    assert problem.isprintable()


def test_a_backbone_has_a_files_name_and_changed_values_in_its_own() -> None:
    for name in ("vit@file", "vit_mini[mean=[0.1, 0.2, 1e-05], pooling=avg]", "a@b c"):
        assert names.name_problem(name, names.BACKBONE_NAME) == ""
        assert names.name_problem(name)
    for name in ("a@../b", "a@b\n", "a" * 201, "a(1)"):
        assert names.name_problem(name, names.BACKBONE_NAME)


def test_methods_have_names_that_records_have() -> None:
    assert registry.NAME.pattern == names.NAME.pattern


@pytest.mark.parametrize(
    "value", [10**5000, "x" * 10**6, [0] * 10**5, -(10**5000), [10**5000]], ids=range(5)
)
def test_a_long_value_is_cut_in_a_message(value: object) -> None:
    assert len(names.shorten(value)) < 100
