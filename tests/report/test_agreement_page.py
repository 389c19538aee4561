"""The page of agreement, from records and their predictions."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.cli.main import main
from bench.records.predictions import Predictions
from support import honest_records as honest

pytestmark = pytest.mark.usefixtures("no_figures")


def made(method: str, seed: int, first: int, last: int) -> honest.Made:
    """A record that is wrong on the images from `first` to `last`, exclusive."""
    record, kept = honest.honest(method, seed=seed)
    assert kept
    assert kept.labels is not None
    classes = kept.labels.copy()
    classes[first:last] = (classes[first:last] + 1) % honest.TASK.classes
    changed = Predictions(classes, kept.labels)
    return honest.scored(record.settings, changed), changed


def three_of_two() -> list[honest.Made]:
    """Of lora three seeds that are wrong on the same 80 of 800 images; of bias, on others."""
    return [made(name, seed, start, start + 80) for seed in range(3)
            for name, start in (("lora", 0), ("bias", 80 + 80 * seed))]  # fmt: skip


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return honest.write(tmp_path, *three_of_two()).root


def agree(results: Path, *more: str) -> int:
    return main(["agreement", "--results", str(results), *more])


def page(results: Path) -> str:
    return (results / "agreement.md").read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_images_are_as_many_as_is_said_here():
    assert len(honest.true_labels()) == 800


def test_the_control_of_each_method_and_the_pair_beside_it(results):
    assert agree(results) == 0
    found = rows(page(results))
    assert ["lora", "1", "3", "90.00", "100.00", "100.00", "5.26", "90.00"] in found
    assert ["bias", "1", "3", "90.00", "80.00", "0.00", "5.26", "100.00"] in found
    (pair,) = [row for row in found if row[:2] == ["bias", "lora"] and len(row) == 10]
    assert pair == ["bias", "lora", "1", "80.00", "90.00", "0.00", "5.26", "50.00", "100.00",
                    "95.00"]  # fmt: skip


def test_three_votes(results):
    agree(results)
    _, after = page(results).split("### Majority of three")
    assert rows(after)[2] == ["bias", "lora", "1", "100.00", "100.00", "90.00", "90.00"]


def test_the_page_says_what_stored_predictions_cannot_give(results):
    agree(results)
    assert "classes without scores" in page(results)
    assert "`python -m bench ensemble` averages probabilities" in page(results)


def test_the_same_records_give_the_same_bytes(results, tmp_path):
    agree(results)
    other = honest.write(tmp_path / "other", *three_of_two()[::-1]).root
    agree(other)
    assert page(other) == page(results)
    assert (other / "agreement.csv").read_bytes() == (results / "agreement.csv").read_bytes()


def test_the_csv_has_a_line_for_each_task_and_pair(results):
    agree(results)
    text = (results / "agreement.csv").read_text(encoding="utf-8")
    lines = [(line["first"], line["second"]) for line in csv.DictReader(io.StringIO(text))]
    assert lines == [("bias", "bias"), ("lora", "lora"), ("bias", "lora")]


def test_a_method_of_one_seed_is_shown_when_it_is_named_and_without_a_control(tmp_path, capsys):
    root = honest.write(tmp_path, made("lora", 0, 0, 80), made("bias", 0, 0, 40)).root
    assert agree(root) == 2
    assert "of no method" in capsys.readouterr().err
    assert agree(root, "--methods", "lora,bias") == 0
    assert "there is no control" in page(root)
    (pair,) = [row for row in rows(page(root)) if row[:2] == ["bias", "lora"]]
    assert pair == ["bias", "lora", r"1\*", "95.00", "–", "50.00", "3.45", "–", "95.00", "–"]
    assert "of the same seed" in page(root)


def test_no_control_stands_beside_a_method_of_one_seed(tmp_path):
    root = honest.write(
        tmp_path, made("lora", 0, 0, 80), made("bias", 0, 0, 40), made("lora", 1, 0, 80)
    ).root
    assert agree(root, "--methods", "lora,bias") == 0
    (pair,) = [row for row in rows(page(root)) if row[:2] == ["bias", "lora"]]
    assert pair[4] == "–"


def test_only_the_methods_named_are_shown(results):
    assert agree(results, "--methods", "lora") == 0
    assert "bias" not in page(results)


def test_an_unknown_method_names_near_ones(results, capsys):
    assert agree(results, "--methods", "lorra") == 2
    assert "did you mean lora?" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"PK", b"x" * 100])
def test_damaged_predictions_are_skipped_by_a_sentence(results, capsys, content):
    path = sorted((results / "predictions").glob("*.npz"))[0]
    path.write_bytes(content)
    assert agree(results) == 0
    assert f"skipped: {path} holds no predictions" in capsys.readouterr().err


def test_predictions_that_are_not_their_records_are_skipped(tmp_path, capsys):
    every = three_of_two()
    root = honest.write(tmp_path, *every)
    record, kept = every[0]
    assert kept
    other = Predictions(np.roll(kept.classes, 1), kept.labels)
    root.write_predictions(record.settings, other)
    assert agree(root.root) == 0
    assert f"cell {record.cell} names other predictions" in capsys.readouterr().err
    assert ["lora", "1", "1"] in [row[:3] for row in rows(page(root.root))]


def test_predictions_of_other_labels_are_skipped(tmp_path, capsys):
    every = three_of_two()
    record, kept = every[-1]
    assert kept
    assert kept.labels is not None
    forged = Predictions(kept.classes, (kept.labels + 1) % honest.TASK.classes)
    root = honest.write(tmp_path, *every[:-1], (honest.scored(record.settings, kept), forged)).root
    assert agree(root) == 0
    assert "has other labels than those of other cells" in capsys.readouterr().err


def test_a_folder_without_records_is_a_sentence(tmp_path, capsys):
    (tmp_path / "records").mkdir()
    assert agree(tmp_path) == 2
    assert agree(tmp_path / "none") == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_records_of_other_recipes_are_not_compared(tmp_path):
    """A board has one recipe: the page has a section for each."""
    first, second = made("lora", 0, 0, 80), made("lora", 1, 0, 80)
    slower = {**second[0].settings.recipe, "epochs": 20}
    assert second[1]
    settings = replace(second[0].settings, recipe=slower)
    scored = replace(honest.scored(settings, second[1]).outcome, losses=[1.0] * 20,
                     best_epoch=20, test_accuracies={"20": second[0].outcome.accuracy})  # fmt: skip
    other = replace(honest.scored(settings, second[1]), outcome=scored)
    root = honest.write(tmp_path, first, (other, second[1])).root
    assert agree(root) == 2
