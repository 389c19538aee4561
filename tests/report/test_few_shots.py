"""Few-shot results: means over lists, two spreads apart, the mean over data sets, the files."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from bench.records.schema import Record
from bench.report import few_shots
from bench.report.boards import Board
from bench.report.few_shots import MEAN, FewShotBoard, few_shot_boards
from bench.report.generate import regenerate, stale_files
from support.made_up_records import boards, make, row, write

Accuracies = Mapping[tuple[str, int, int], Sequence[float]]  # data set, shots, list -> by seed


def records(method: str, accuracies: Accuracies) -> list[Record]:
    """Records made up of a method, one for each value."""
    return [
        make(
            method,
            f"{dataset}_{shots}shot_{number}",
            seed,
            accuracy,
            suite="few",
            split=f"{number}" * 16 + "-" + "a" * 16,
            few_shot={"shots": shots, "list": number},
        )
        for (dataset, shots, number), values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]


LORA: Accuracies = {
    ("food", 1, 0): [10.0, 14.0],
    ("food", 1, 1): [20.0, 22.0],
    ("food", 4, 0): [40.0, 42.0],
    ("food", 4, 1): [50.0, 52.0],
    ("pets", 1, 0): [30.0, 30.0],
    ("pets", 1, 1): [50.0, 50.0],
    ("pets", 4, 0): [60.0, 60.0],
    ("pets", 4, 1): [70.0, 70.0],
}


def only(made: Sequence[Record]) -> FewShotBoard:
    [found] = few_shot_boards(boards(made))
    return found


def test_a_result_is_the_mean_over_lists_with_two_spreads_apart() -> None:
    found = only(records("lora", LORA)).methods["lora"]["food", 1]
    assert found.list_means == {0: 12.0, 1: 21.0}
    assert found.accuracy == 16.5
    assert found.sd_over_lists == pytest.approx(9 / 2**0.5)
    assert found.sd_over_seeds == pytest.approx(((8 + 2) / 2) ** 0.5)


def test_a_spread_needs_two_lists_or_two_seeds() -> None:
    one_list = {place: values for place, values in LORA.items() if place[2] == 0}
    found = only(records("lora", one_list)).methods["lora"]["food", 1]
    assert found.sd_over_lists is None
    assert found.sd_over_seeds == pytest.approx(8**0.5)
    one_seed = {place: values[:1] for place, values in LORA.items()}
    found = only(records("lora", one_seed)).methods["lora"]["food", 1]
    assert found.sd_over_seeds is None
    assert found.sd_over_lists == pytest.approx(10 / 2**0.5)


def test_the_mean_over_data_sets_is_list_by_list() -> None:
    found = only(records("lora", LORA)).methods["lora"][MEAN, 1]
    assert found.list_means == {0: 21.0, 1: 35.5}
    assert found.accuracy == 28.25
    assert found.sd_over_lists == pytest.approx(14.5 / 2**0.5)


def test_a_method_that_lacks_a_list_has_no_value_there_and_no_mean() -> None:
    partial = {place: values for place, values in LORA.items() if place != ("pets", 4, 1)}
    found = only([*records("lora", LORA), *records("bias", partial)])
    assert set(found.methods["lora"]) - set(found.methods["bias"]) == {("pets", 4), (MEAN, 4)}
    page = few_shots.render_few_shots([found])
    assert "| bias     | 46.00 (lists 7.07, seeds 1.41) |" in page
    assert "–" in page.split("### 4 shots")[1]


def test_boards_of_whole_tasks_are_not_few_shot() -> None:
    assert few_shot_boards(boards(row("lora", [50.0] * 5))) == []


def board_of(made: Sequence[Record]) -> Board:
    [found] = boards(made)
    return found


def test_the_leaderboard_counts_a_data_set_once() -> None:
    bias = {place: [value - 1 for value in values] for place, values in LORA.items()}
    found = board_of([*records("lora", LORA), *records("bias", bias)])
    assert found.comparison.table.tolist() == [[31.25, 30.25], [52.5, 51.5]]
    assert "with 2 data sets" in found.comparison.summary()


def test_the_csv_has_every_point_of_the_curves() -> None:
    found = only(records("lora", LORA))
    lines = list(csv.DictReader(io.StringIO(few_shots.few_shots_csv([found]))))
    assert [(line["dataset"], line["shots"]) for line in lines] == [
        *(("food", "1"), ("food", "4"), ("pets", "1"), ("pets", "4"), ("mean", "1"), ("mean", "4"))
    ]
    assert lines[0] | {"accuracy": "16.5000", "sd_over_lists": "6.3640"} == lines[0]
    assert (lines[0]["sd_over_seeds"], lines[0]["lists"], lines[0]["seeds"]) == ("2.2361", "2", "2")
    points = few_shots.curve_lines(found)
    assert [(p["dataset"], p["mean"]) for p in points] == [
        (line["dataset"], float(line["accuracy"])) for line in lines
    ]


def test_report_writes_page_csv_and_curves_where_there_are_few_shot_records(
    tmp_path: Path,
) -> None:
    names = ("few_shots.md", "few_shots.csv", "few_shots.svg", "few_shots.png")
    write(tmp_path, row("lora", [50.0] * 5))
    regenerate(tmp_path)
    assert not any((tmp_path / name).exists() for name in names)
    write(tmp_path, records("lora", LORA))
    regenerate(tmp_path)
    assert all((tmp_path / name).stat().st_size for name in names)
    assert stale_files(tmp_path) == []
    drawn = (tmp_path / "few_shots.svg").read_text(encoding="utf-8")
    assert all(f">{name}<" in drawn for name in ("food", "pets", "mean", "shots", "accuracy"))
