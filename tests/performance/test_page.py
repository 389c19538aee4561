"""The performance page: its sections, their rows, and earlier measurements that are kept."""

from dataclasses import replace

import pytest
import torch

import methods
from bench.cli import main
from bench.performance import measurement, method_cost, page, scaling, step_settings
from bench.performance.measurement import (
    MIB,
    TEST_THROUGHPUT,
    TRAIN_THROUGHPUT,
    VTAB_HOURS,
    PerformanceRow,
)
from bench.performance.page import SECTIONS
from bench.performance.step_settings import StepSettings
from bench.performance.work_sizes import WorkSizes
from support import hostile
from support.performance_lines import MACHINE, lines

SMALL = {"model_name": "test_vit", "num_classes": 10}
TINY = {"model_name": "test_vit", "depth": 2}
PLANS = {
    what: scaling.ScalingPlan(
        scaling.ScalingSetting(4, 4, 2), {"images": (2, 4), "layers": (2, 3)}, rounds=1
    )
    for what in scaling.PLANS
}
NAMES = ["linear", "mp", "vpt_deep"]


@pytest.fixture
def tiny(monkeypatch):
    """All sections with next to no work, in this process."""
    sizes = WorkSizes(
        2, 4, 8, "vit_mini_mae", base="test_vit", large="vit_mini_mae", cache_work=(40, 2), rounds=1
    )
    settings = StepSettings((2,), ("fp32",))
    sizes = replace(sizes, shallow=TINY, plans=PLANS, settings=settings)
    monkeypatch.setitem(page.SIZES, "cpu", sizes)
    monkeypatch.setattr(methods, "names", lambda: NAMES)
    monkeypatch.setattr(step_settings, "METHODS", {name: (name, {}) for name in NAMES[:2]})
    monkeypatch.setattr(measurement, "run_in_subprocess", lambda act, *words: act(*words))
    monkeypatch.setattr(measurement, "profile_operators", lambda *_: "aten::addmm 90%")


def cells(text):
    """The cells of the tables in a text, line by line."""
    return [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]


def test_the_page_says_what_was_measured_on_what():
    pair = PerformanceRow("a pair", 0.5, 1.5, 3, 0.9, note="1 to 2")
    text = page.markdown_page(lines("steps", pair, PerformanceRow("a share", 0.01, 2.0, 1, 0.001)))
    assert ["a pair", "0.5 of the time", "≤ 0.9", "met", "1.5", "3", "1 to 2"] in cells(text)
    assert "Bars: 1 met, 1 not met." in text
    assert "Measured on a machine, 1 thread; torch 2, timm 1, Python 3; commit abc," in text
    assert "made by `python -m bench performance`" in text
    assert "## Initialisation" not in text


def test_what_changed_since_the_commit_is_said():
    [line] = lines("steps", PerformanceRow("a", 1.0))
    dirty = replace(line, machine=replace(MACHINE, dirty=True))
    assert "commit abc with changes" in page.markdown_page([dirty])


def test_a_bar_that_is_not_met_is_explained_on_the_page():
    row = measurement.with_profile(
        PerformanceRow("a pair", 2.0, bar=1.0), lambda: torch.ones(99) @ torch.ones(99), "cpu"
    )
    assert "aten::dot" in row.profile
    assert "Not met: a pair. The operators that take the most: aten::" in page.pairs_table([row])


def test_methods_stand_side_by_side_and_a_refusal_below():
    rows = [
        PerformanceRow("linear", 1234.4, unit=TRAIN_THROUGHPUT, note="a network, batch 32"),
        PerformanceRow("linear", 2000.0, unit=TEST_THROUGHPUT, note="a network, batch 32"),
        PerformanceRow("linear", 0.51, unit=VTAB_HOURS, note="a network, batch 32"),
        PerformanceRow("mp", None, unit=TRAIN_THROUGHPUT, note="n/a: it cannot"),
    ]
    text = page.methods_table(rows)
    assert ["linear", "1,234", "2,000", "0.5"] in cells(text)
    assert text.startswith("a network, batch 32:\n\n|")
    assert text.endswith("mp: n/a: it cannot")


def test_growth_is_computed_from_its_ends():
    rows = [
        PerformanceRow("step, kmeans", mib, 2 * mib, unit=MIB, against="images", at=at)
        for mib, at in ((1.0, 10.0), (3.0, 20.0), (9.0, 40.0))
    ]
    line = ["step, kmeans", "images", "10", "40", "2", "18", "1", "9"]
    assert cells(page.scaling_table(rows))[2:] == [line]


@pytest.mark.long
@pytest.mark.parametrize("name", SECTIONS)
def test_every_section_is_measured(name, tiny):
    rows = list(SECTIONS[name].measure(page.SIZES["cpu"], "cpu"))
    assert rows
    assert all(row.value is not None and row.value >= 0 for row in rows)
    table = SECTIONS[name].table(rows)
    assert all(row.name in table for row in rows)


@pytest.mark.long
def test_sections_are_measured_one_by_one_and_none_is_lost(tiny, tmp_path, monkeypatch):
    text, file = tmp_path / page.PAGE_FILE, tmp_path / measurement.CSV_FILE
    words = ["performance", "--device", "cpu", "--results", str(tmp_path), "--only"]
    assert main.main([*words, "growth,throughput"]) == 0
    before = [line for line in measurement.read_csv(file) if line.section == "growth"]
    assert (tmp_path / "pictures/performance.svg").read_bytes().startswith(b"<?xml")
    assert "pictures/performance.png" in text.read_text(encoding="utf-8")
    monkeypatch.setattr(
        method_cost,
        "measure_throughput",
        lambda *_: iter([PerformanceRow("new", 1.0, unit=TRAIN_THROUGHPUT)]),
    )
    assert main.main([*words, "throughput"]) == 0
    after = measurement.read_csv(file)
    assert [line for line in after if line.section == "growth"] == before
    assert [line.row.name for line in after if line.section == "throughput"] == ["new"]
    assert "vpt_deep" not in text.read_text(encoding="utf-8")


def test_what_was_measured_before_a_failure_is_kept(tiny, tmp_path, monkeypatch):
    def fails(*_):
        raise MemoryError("too little")
        yield

    monkeypatch.setattr(method_cost, "measure_throughput", fails)
    with pytest.raises(MemoryError):
        list(page.measure_and_write(tmp_path, "cpu", ["growth", "throughput"]))
    assert {line.section for line in measurement.read_csv(tmp_path / measurement.CSV_FILE)} == {
        "growth"
    }


def test_an_unknown_section_is_refused_before_anything_is_measured(tmp_path, capsys):
    words = ["performance", "--device", "cpu", "--results", str(tmp_path), "--only", "step"]
    assert main.main(words) == 2
    assert "no section 'step'; did you mean steps?" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_grows_is_measured_once_a_setting(monkeypatch):
    asked = []

    def act(setting, series, *_):
        asked.append((setting, series))
        return lambda: None

    monkeypatch.setattr(scaling, "SERIES", {scaling.TRAINING_STEP: (("bare",), act)})
    rows = list(
        scaling.measure_scaling({scaling.TRAINING_STEP: PLANS[scaling.TRAINING_STEP]}, "cpu", SMALL)
    )
    assert [(row.against, row.at) for row in rows] == [
        ("images", 2), ("images", 4), ("layers", 2), ("layers", 3)
    ]  # fmt: skip
    assert len(asked) == len(set(asked)) == 3


def test_every_series_has_a_style():
    assert {name for series, _ in scaling.SERIES.values() for name in series} == set(
        scaling.SERIES_STYLES
    )


def test_there_is_no_figure_without_growth():
    assert scaling.draw(lines("steps", PerformanceRow("a", 1.0))) is None


@pytest.mark.parametrize("section", SECTIONS)
def test_no_section_takes_a_name_a_note_or_a_machine_for_more(section, tmp_path):
    where = replace(MACHINE, device_name=hostile.TEXTS["link"], torch=hostile.TEXTS["tag"])
    texts = [text for name, text in hostile.TEXTS.items() if name != "surrogate"]  # of no file
    rows = [
        row
        for text in texts
        for row in (
            PerformanceRow(
                text, 0.5, 1.5, 3, bar=0.1, against=text, at=2.0, profile=text, note=text
            ),
            PerformanceRow(text, None, note=text, at=4.0, unit=text),
        )
    ]
    found = [measurement.PerformanceLine(section, row, where) for row in rows]
    assert not hostile.problems("page.md", page.markdown_page(found).encode())
    measurement.write_csv(tmp_path / "a.csv", found)
    assert not hostile.problems("a.csv", (tmp_path / "a.csv").read_bytes())
