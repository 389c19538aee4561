"""The page of parameter counts, compared with each printed count."""

import pytest

import methods
from bench.performance import parameter_counts
from support import hostile


@pytest.mark.parametrize(("off", "said"), [(0.0, "agrees"), (0.008, "agrees"), (0.02, "differs")])
def test_a_printed_count_agrees_within_a_hundredth_of_a_million(monkeypatch, off, said):
    right = parameter_counts.mean_millions("lora", "vtab1k")
    line = {"method": "lora", "label": "LoRA", "fgvc": "", "remark": ""}
    monkeypatch.setattr(
        parameter_counts, "read_published", lambda: [{**line, "vtab1k": f"{right + off:.4f}"}]
    )
    cells = [
        cell.strip() for cell in parameter_counts._published_table().splitlines()[-1].split("|")
    ]
    assert said in cells
    assert ({"agrees", "differs"} - {said}).isdisjoint(cells)


@pytest.mark.sample(16)
@pytest.mark.parametrize("name", sorted(parameter_counts.FORMULAS))
def test_counted_is_the_closed_form(name):
    for classes in (2, 100):
        want = parameter_counts.FORMULAS[name].count(classes) + 769 * classes
        assert parameter_counts.count_parameters(name, classes) == want


CANNOT_MATCH = {
    "mp",
    "snf",
    "vpt_deep",
    "e2vpt",
    "lora",
    "snell",
}  # bench/papers/parameters.csv says why


@pytest.mark.sample(6)
@pytest.mark.parametrize("row", parameter_counts.read_published(), ids=lambda row: row["method"])
def test_the_papers_columns_are_reproduced(row):
    for suite in ("fgvc", "vtab1k"):
        if row[suite]:
            close = (
                abs(parameter_counts.mean_millions(row["method"], suite) - float(row[suite]))
                <= 0.01
            )
            assert close or row["method"] in CANNOT_MATCH
    assert row["remark"] or row["method"] not in CANNOT_MATCH


def test_the_page_takes_no_method_s_name_for_more(monkeypatch):
    monkeypatch.setattr(parameter_counts, "count_parameters", lambda *_: 0)
    monkeypatch.setattr(methods, "names", lambda: list(hostile.TEXTS.values()))
    assert not hostile.problems("page.md", parameter_counts.markdown_page().encode())
