"""The page of compatibility is current: in part, since all of its answers take too long here.

Checked are every method on two families, and every family with several methods.
"""

import re
from itertools import chain

import pytest

import methods
from bench.performance import compatibility_page as page
from bench.utils.files import REPO_ROOT
from methods.shared.structure import families

TEXT = (REPO_ROOT / "docs/reference/compatibility.md").read_text(encoding="utf-8")
SHIFTS = (0, 5)  # of the families that a method is tried on
needs_versions = pytest.mark.skipif(
    page.made_with() not in TEXT, reason="the page was made with other versions"
)


def written() -> dict[str, dict[str, str]]:
    """The page's answers, by method and family."""
    reasons = dict(re.findall(r"^(\d+)\. (.*)$", TEXT, re.MULTILINE))
    rows = [line.strip("|").split("|") for line in TEXT.splitlines() if line.startswith("|")]
    header, _, *lines = [[cell.strip() for cell in row] for row in rows]
    numbers = re.compile(r"n/a \((\d+)\)")
    return {
        name: {
            family: reasons[found[1]] if (found := numbers.fullmatch(cell)) else cell
            for family, cell in zip(header[1:], cells, strict=True)
        }
        for name, *cells in lines
    }


def sample() -> list[tuple[str, str]]:
    known = list(page.EXAMPLES)
    return [
        (name, known[(i + shift) % len(known)])
        for i, name in enumerate(methods.names())
        for shift in SHIFTS
    ]


def test_the_page_has_every_method_and_every_family() -> None:
    found = written()
    own = [name for name in methods.names() if not methods.code(name)]
    assert list(found) == own
    assert {tuple(row) for row in found.values()} == {tuple(page.EXAMPLES)}


@pytest.mark.long
@needs_versions
def test_what_the_page_says_of_a_sample_is_what_happens() -> None:
    found = written()
    for name, family in sample():
        if name in found:
            text = page.for_markdown(page.answer(family, name))
            assert found[name][family] == text, f"{name} on {family}: python -m bench compatibility"


def test_every_family_that_methods_know_has_a_column() -> None:
    classes = {kind.__name__ for f in page.EXAMPLES for kind in type(page._model(f)).__mro__}
    assert set(families()) <= classes


def test_an_answer_is_a_word_or_a_sentence() -> None:
    assert page.answer("ViT", "vpt_deep") == page.WORKS
    assert "ResNet has none" in page.answer("ResNet", "vpt_deep")
    cells = set(chain.from_iterable(row.values() for row in written().values()))
    assert all(cell == page.WORKS or len(cell) > 20 for cell in cells)


def test_reasons_are_numbered_once_each_and_stay_text() -> None:
    no = dict.fromkeys(page.EXAMPLES, "a | b")
    text = page.render({"one": no, "two": {**no, "ViT": page.WORKS}})
    assert text.count("a \\| b") == 1
    assert text.count("n/a (1)") == 2 * len(page.EXAMPLES) - 1
