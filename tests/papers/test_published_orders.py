"""The published orders: which rows make them, and what a file that is none says."""

from pathlib import Path

import pytest

from bench.papers.published_orders import COLUMNS, published_orders
from bench.utils.errors import UserError
from bench.utils.tables import csv_from_dicts

LORA = {
    "suite": "vtab1k",
    "registered": "lora",
    "backbone": "vit_base_patch16_224",
    "checkpoint": "orig_in21k",
    "over_groups": "74.5",
}


def write(folder: Path, *lines: dict[str, str]) -> Path:
    path = folder / "known_results.csv"
    path.write_text(csv_from_dicts(("paper", *COLUMNS), lines), encoding="utf-8")
    return path


def test_without_a_file_there_is_no_order(tmp_path: Path) -> None:
    assert published_orders(tmp_path / "none.csv") == {}


def test_orders_are_by_pretraining_and_checkpoints_of_one_share_theirs(tmp_path: Path) -> None:
    full = {**LORA, "registered": "full", "checkpoint": "augreg_in21k", "over_groups": "70"}
    path = write(tmp_path, {**LORA, "checkpoint": "mae", "over_groups": "60.5"}, full, LORA)
    assert published_orders(path) == {
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
        {"over_groups": "", "natural": "80", "specialized": "85"},
    ],
)
def test_other_rows_are_of_no_order(other: dict[str, str], tmp_path: Path) -> None:
    assert published_orders(write(tmp_path, {**LORA, **other})) == {}


def test_a_mean_that_is_not_printed_is_that_of_the_groups(tmp_path: Path) -> None:
    groups = {"natural": "80", "specialized": "85", "structured": "60", "over_groups": ""}
    assert published_orders(write(tmp_path, {**LORA, **groups}))["supervised"] == {"lora": 75.0}


def test_of_several_numbers_the_median_counts(tmp_path: Path) -> None:
    several = [{**LORA, "over_groups": mean} for mean in ("74.5", "30", "75")]
    assert published_orders(write(tmp_path, *several))["supervised"] == {"lora": 74.5}


@pytest.mark.parametrize("mean", ["high", "nan", "101", "-1", "9" * 5000])
def test_a_mean_that_is_no_percentage_is_a_sentence(mean: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="over_groups of 'lora' is no percentage"):
        published_orders(write(tmp_path, {**LORA, "over_groups": mean}))


@pytest.mark.parametrize("content", [b"\xff", b"suite,method\nvtab1k,lora\n", b"\x00"])
def test_what_is_no_table_of_results_is_a_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "known_results.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        published_orders(path)


def test_the_project_s_own_file_can_be_read() -> None:
    assert all(0 <= m <= 100 for order in published_orders().values() for m in order.values())
