"""Progress of steps, and of work of unknown length: on a terminal alone; no text is markup."""

import io

import pytest
from rich.console import Console

from bench.utils.progress_bars import step_bar, working
from support import hostile


def console(is_terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=is_terminal, width=200, record=True)


def test_a_bar_counts_its_steps() -> None:
    drawn = console(is_terminal=True)
    with step_bar(drawn, "methods on a backbone", 3) as advance:
        advance()
        advance()
    assert "methods on a backbone" in drawn.export_text(clear=False)
    assert "2/3" in drawn.export_text()


def test_nothing_is_drawn_off_a_terminal() -> None:
    drawn = console(is_terminal=False)
    with step_bar(drawn, "methods", 2) as advance:
        advance()
    with working(drawn, "writing"):
        pass
    assert drawn.export_text().strip() == ""


def test_an_error_ends_the_display_and_goes_on() -> None:
    drawn = console(is_terminal=True)
    with pytest.raises(ZeroDivisionError), working(drawn, "writing"):
        raise ZeroDivisionError


@pytest.mark.parametrize("text", hostile.TEXTS.values(), ids=hostile.TEXTS)
def test_a_title_is_no_markup(text: str) -> None:
    drawn = console(is_terminal=True)
    with step_bar(drawn, text, 1) as advance:
        advance()
    assert not list(hostile.in_terminal(drawn.export_text()))
