"""The page, CSV and picture of interpolated scores."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from bench.records import interpolations
from bench.records.interpolations import Interpolation, SetScores
from bench.report import generate, interpolation_page
from support import made_up_records

FOUND = Interpolation(
    "0123456789abcdef", "weights", "tiny", "light", "small", "lora", 0, [0.0, 0.5, 0.8, 1.0],
    [
        SetScores("test", "test", 16, [50.0, 87.5, 81.25, 93.75]),
        SetScores("val", "validation", 4, [50.0, 75.0, 75.0, 50.0]),
        SetScores("dim", "shift", 1600, [50.0, 62.5, 68.75, 56.25]),
    ],
)  # fmt: skip
STEM = FOUND.stem


def page(found: Interpolation = FOUND) -> str:
    content = interpolation_page.render_files(found)[f"{found.stem}.md"]
    assert content is not None
    return content.decode()


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_alpha_is_chosen_on_validation_and_the_smallest_of_equally_good_ones() -> None:
    found = rows(page())
    assert found[0] == ["set", "images", "start (α = 0)", "adapted (α = 1)",
                        "chosen on val (α = 0.5)"]  # fmt: skip
    assert found[2:5] == [
        ["val", "4", "50.00", "50.00", "75.00"],
        ["test", "16", "50.00", "93.75", "87.50"],
        ["dim", "1,600", "50.00", "56.25", "62.50"],
    ]


def test_oracles_stand_apart_and_are_called_so() -> None:
    before, after = page().split("## Oracles")
    assert "oracle" not in before.lower()
    assert ["test", "1", "93.75", "+6.25"] in rows(after)
    assert ["dim", "0.8", "68.75", "+6.25"] in rows(after)
    assert "is not a result" in after


def test_the_choice_does_not_see_the_test() -> None:
    """Other scores on test and shifts leave it where it is."""
    test, val, dim = FOUND.sets
    worse = replace(test, accuracies=[100.0, 0.0, 0.0, 0.0])
    changed = replace(FOUND, sets=[worse, val, replace(dim, accuracies=[100.0, 0.0, 0.0, 0.0])])
    assert interpolation_page.chosen_index(changed) == interpolation_page.chosen_index(FOUND) == 1


def test_the_csv_has_a_line_for_each_model_and_set() -> None:
    content = interpolation_page.render_files(FOUND)[f"{STEM}.csv"]
    assert content is not None
    lines = list(csv.DictReader(io.StringIO(content.decode())))
    assert len(lines) == 12
    assert lines[4] == {
        "cell": FOUND.cell, "along": "weights", "alpha": "0.5", "set": "test", "kind": "test",
        "images": "16", "accuracy": "87.5",
    }  # fmt: skip


def test_the_picture_has_a_panel_for_each_shift_with_named_points() -> None:
    content = interpolation_page.render_files(FOUND)[f"{STEM}.svg"]
    assert content is not None
    text = content.decode()
    assert "dim against test" in text
    assert ">0.8<" in text
    alone = replace(FOUND, sets=FOUND.sets[:2])
    without = interpolation_page.render_files(alone)[f"{STEM}.svg"]
    assert without is not None
    assert "against" not in without.decode()


@pytest.mark.parametrize("along", ["weights", "scale"])
def test_the_page_says_along_what_it_went(along: str) -> None:
    said = page(replace(FOUND, along=along))
    assert ("times the scale" in said) == (along == "scale")


def test_report_draws_all_again_from_the_json(tmp_path: Path) -> None:
    made_up_records.write(tmp_path, [made_up_records.make("bias", "digits")])
    interpolations.write_interpolation(tmp_path, FOUND)
    assert (tmp_path / f"{STEM}.md") in generate.stale_files(tmp_path)
    generate.regenerate(tmp_path)
    assert (tmp_path / f"{STEM}.md").read_text(encoding="utf-8") == page()
    assert generate.stale_files(tmp_path) == []


def test_report_says_which_file_it_skips(tmp_path: Path) -> None:
    made_up_records.write(tmp_path, [made_up_records.make("bias", "digits")])
    interpolations.write_interpolation(tmp_path, FOUND).write_text("{}", encoding="utf-8")
    done = generate.regenerate(tmp_path)
    assert "is not a file of interpolated scores" in done.problems[0]
    assert not (tmp_path / f"{STEM}.md").exists()
