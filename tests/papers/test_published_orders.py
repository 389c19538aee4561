"""The published orders: which rows make them."""

from pathlib import Path

import pytest

from bench.papers.known import CSV_COLUMNS, load_known, read_known
from bench.papers.published_orders import Orders, published_orders
from bench.utils.tables import csv_from_dicts

LORA = {
    "suite": "vtab1k",
    "method": "LoRA",
    "registered": "lora",
    "paper": "hu2022",
    "backbone": "vit_base_patch16_224",
    "checkpoint": "orig_in21k",
    "over_groups": "74.5",
}


def orders(folder: Path, *lines: dict[str, str]) -> Orders:
    path = folder / "known_results.csv"
    whole = [dict.fromkeys(CSV_COLUMNS, "") | line for line in lines]
    path.write_text(csv_from_dicts(CSV_COLUMNS, whole), encoding="utf-8")
    return published_orders(read_known(path))


def test_without_results_there_is_no_order() -> None:
    assert published_orders([]) == {}


def test_orders_are_by_pretraining_and_checkpoints_of_one_share_theirs(tmp_path: Path) -> None:
    full = {**LORA, "registered": "full", "checkpoint": "augreg_in21k", "over_groups": "70"}
    assert orders(tmp_path, {**LORA, "checkpoint": "mae", "over_groups": "60.5"}, full, LORA) == {
        "supervised": {"full": 70.0, "lora": 74.5},
        "MAE": {"lora": 60.5},
    }


@pytest.mark.parametrize(
    "other",
    [
        {"suite": "fgvc"},
        {"registered": ""},
        {"backbone": "swin_base_patch4_window7_224"},
        {"checkpoint": "lvd142m"},
        {"over_groups": "", "over_tasks": "74", "natural": "80", "specialized": "85"},
    ],
)
def test_other_rows_are_of_no_order(other: dict[str, str], tmp_path: Path) -> None:
    assert orders(tmp_path, {**LORA, **other}) == {}


def test_a_mean_that_is_not_printed_is_that_of_the_groups(tmp_path: Path) -> None:
    groups = {"natural": "80", "specialized": "85", "structured": "60", "over_groups": ""}
    assert orders(tmp_path, {**LORA, **groups})["supervised"] == {"lora": 75.0}


def test_of_several_numbers_the_median_counts(tmp_path: Path) -> None:
    means = {"a": "74.5", "b": "30", "c": "75"}
    several = [{**LORA, "paper": paper, "over_groups": mean} for paper, mean in means.items()]
    assert orders(tmp_path, *several)["supervised"] == {"lora": 74.5}


def test_the_project_s_own_results_have_orders_of_three_pretrainings() -> None:
    found = published_orders(load_known())
    assert list(found) == ["supervised", "MAE", "MoCo-v3"]
    assert all(0 <= mean <= 100 for order in found.values() for mean in order.values())
