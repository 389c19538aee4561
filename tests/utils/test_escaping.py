"""Escaping: what each target would take for its own syntax; and that plain text stays as it is."""

import html

import pytest

from bench.utils import escaping
from bench.utils.tables import csv_text, terminal_lines
from support import hostile

PLAIN = ("lora[rank=2, init=a_b]", "vit_mini@mae[mean=[0.1, 0.2]]", "71.20 ± 0.41", "–", "é, 中",
         "-1.20", "blocks\\.\\d+\\.(attn\\.qkv)", "a: b; c (d), e/f", "")  # fmt: skip


@pytest.mark.parametrize("text", hostile.TEXTS.values(), ids=hostile.TEXTS)
def test_a_hostile_text_is_only_text(text: str) -> None:
    markdown = escaping.for_markdown(text)
    page = f"# {markdown}\n\n{markdown} is *ours*.\n\n| a | b |\n|---|---|\n| {markdown} | 1 |\n"
    assert not [
        *hostile.in_terminal(escaping.for_terminal(text)),
        *hostile.in_terminal(escaping.for_figure(text)),
        *hostile.in_markdown(page),
        *hostile.in_csv(csv_text([["head", "other"], [text, 1], [1, text]])),
        *hostile.in_latex(f"% {escaping.for_latex(text)}\n{escaping.for_latex(text)} \\\\"),
    ]
    for line in (escaping.for_terminal(text), escaping.for_figure(text), markdown):
        assert "\n" not in line
    assert hostile.MARK in markdown
    assert "<" not in escaping.for_html(text)
    assert not {'"', "'"} & set(escaping.for_html(text))
    escaping.for_link(text).encode("ascii")


@pytest.mark.parametrize("text", PLAIN)
def test_a_plain_text_stays_as_it_is(text: str) -> None:
    assert escaping.for_terminal(text) == escaping.for_figure(text) == text
    assert escaping.for_markdown(text) == escaping.for_csv(text) == text
    assert html.unescape(escaping.for_html(text)) == text


def test_what_cannot_be_seen_is_written_as_python_writes_it() -> None:
    assert escaping.for_terminal("a\x1b\n\t\0\x9b\u202e\u2028\ufe0f\U000e0041") == (
        "a\\x1b\\n\\t\\x00\\x9b\\u202e\\u2028\\ufe0f\\U000e0041"
    )
    assert escaping.for_terminal("caf\udcc3\udca9\ud800") == "caf\\xc3\\xa9\\ud800"


@pytest.mark.parametrize("cell", ["-1.20", "+3", "-1e-05", "-inf", "nan", -1.5, 0, None, ""])
def test_a_number_stays_a_number_in_csv(cell: object) -> None:
    assert escaping.for_csv(cell) == cell


@pytest.mark.parametrize("cell", ["=1+1", "+x", "-x", "@x", "＝1", " =1", "\n=1", "-1 + x", "-1,5"])
def test_a_formula_becomes_a_text_in_csv(cell: str) -> None:
    assert str(escaping.for_csv(cell)).startswith("'")


def test_csv_quotes_lines_and_leaves_numbers_to_the_reader() -> None:
    assert csv_text([["a", "b"], ["x\ny", -1.5], ['q"', None]]) == 'a,b\n"x\ny",-1.5\n"q""",\n'


def test_a_table_of_the_terminal_has_a_line_a_row() -> None:
    lines = terminal_lines([["a\nb", 1], ["\x1b", 2], ["\001", 3]], ["x\ny", "z"])
    assert len(lines) == 5
    assert not [problem for line in lines for problem in hostile.in_terminal(line)]


def test_markdown_leaves_brackets_and_addresses_readable() -> None:
    assert escaping.for_markdown("[x](http://e.org) a|b <b> _c_") == (
        "\\[x\\](http:\\//e.org) a\\|b &lt;b&gt; \\_c\\_"
    )


def test_markdown_s_own_escapes_stay_escapes_after_a_backslash() -> None:
    assert escaping.for_markdown("\\|a\\\\*b\\") == "\\\\\\|a\\\\\\\\\\*b\\\\"


def test_latex_begins_no_cell_with_an_option_of_the_line_before() -> None:
    assert escaping.for_latex("[2em] 50 % & ±") == "{[}2em] 50 \\% \\& $\\pm$"
