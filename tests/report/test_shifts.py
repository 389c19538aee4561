"""The page of further test sets: means over seeds, strengths and kinds, and what is over full."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from bench.records.schema import Record, ShiftScore
from bench.records.store import Store
from bench.report import shifts
from bench.report.boards import build_boards
from bench.report.frame import record_frame
from bench.report.generate import regenerate, stale_files
from support.made_up_records import SUITES, make

PLAIN, MASKED = "a" * 16, "a" * 16 + "-" + "b" * 16
Scores = dict[str, float | tuple[float, float]]


def scored(method: str, seed: int, test: float, scores: Scores, task: str = "digits") -> Record:
    """A record made up; a pair of scores is one without and one with a mask."""
    digests = {name: PLAIN if isinstance(one, float) else MASKED for name, one in scores.items()}
    record = make(method, task, seed, test, shifts=digests)
    assert record.outcome
    found = {name: _score(one) for name, one in scores.items()}
    return replace(record, outcome=replace(record.outcome, shifts=found))


def _score(one: float | tuple[float, float]) -> ShiftScore:
    if isinstance(one, float):
        return ShiftScore(one, 100, "c" * 64)
    return ShiftScore(one[0], 50, "c" * 64, one[1], "d" * 64)


def two_methods() -> list[Record]:
    return [
        scored("full", 0, 90.0, {"noise_1": 60.0, "noise_2": 40.0, "far": (10.0, 30.0)}),
        scored("full", 1, 92.0, {"noise_1": 62.0, "noise_2": 42.0, "far": (12.0, 32.0)}),
        scored("lora", 0, 88.0, {"noise_1": 70.0, "noise_2": 50.0, "far": (20.0, 40.0)}),
        scored("lora", 1, 90.0, {"noise_1": 76.0, "noise_2": 56.0, "far": (22.0, 42.0)}),
        scored("lora", 2, 80.0, {"noise_1": 10.0, "noise_2": 10.0, "far": (5.0, 10.0)}),
    ]


def page_of(records: list[Record]) -> str:
    tables = shifts.shift_tables(build_boards(record_frame(records), SUITES), records)
    return shifts.render_page(tables)


def cells(page: str, method: str) -> list[str]:
    line = next(line for line in page.splitlines() if line.startswith(f"| {method} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_kind_is_the_mean_over_its_strengths_and_the_mean_is_over_the_kinds() -> None:
    found = cells(page_of(two_methods()), "full")
    assert found == [
        *("full", "91.00 ± 1.41"),
        *("31.00 ± 1.41", "51.00 ± 1.41"),  # far, of which the masked accuracy counts; noise
        *("41.00 ± 1.41", "–", "2"),
    ]


def test_what_is_over_full_is_of_the_seeds_that_both_have() -> None:
    """Over full by 10 and 12 points; its third seed, which full lacks, is in its own means."""
    found = cells(page_of(two_methods()), "lora")
    assert found[-2:] == ["11.00 ± 1.41", "3"]


def test_a_masked_kind_is_marked_and_strengths_are_counted() -> None:
    page = page_of(two_methods())
    assert "| far \\* |" in " ".join(page.split())
    assert "| noise (2) |" in " ".join(page.split())


def test_the_best_mean_of_shifts_comes_first() -> None:
    records = two_methods()[:4]
    page = page_of(records)
    assert page.index("| lora ") < page.index("| full ")


@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        (["noise_2", "noise_1"], {"noise": ["noise_1", "noise_2"]}),
        (["noise_10", "noise_9"], {"noise": ["noise_9", "noise_10"]}),
        (["imagenet_v2", "noise_1"], {"imagenet_v2": ["imagenet_v2"], "noise_1": ["noise_1"]}),
        (["a_0", "a_1"], {"a_1": ["a_1"], "a_0": ["a_0"]}),
    ],
)
def test_sets_of_one_kind_differ_in_their_last_number(
    names: list[str], kinds: dict[str, list[str]]
) -> None:
    assert shifts.sets_by_kind(names) == kinds


def test_a_method_that_was_not_run_beside_full_has_no_difference() -> None:
    assert cells(page_of(two_methods()[2:4]), "lora")[-2:] == ["–", "2"]


def test_the_csv_has_a_line_for_every_set_and_both_accuracies() -> None:
    lines = list(csv.DictReader(io.StringIO(shifts.render_csv(two_methods()))))
    assert len(lines) == 5 * 4
    [far] = [
        one for one in lines if (one["method"], one["seed"], one["set"]) == ("full", "0", "far")
    ]
    assert (far["accuracy"], far["masked_accuracy"], far["images"]) == ("10.0000", "30.0000", "50")
    [noise] = [o for o in lines if (o["method"], o["seed"], o["set"]) == ("full", "0", "noise_2")]
    assert (noise["kind"], noise["strength"], noise["masked_accuracy"]) == ("noise", "2", "")


def test_records_on_other_sets_share_no_table() -> None:
    other = [replace(r, settings=replace(r.settings, shifts={"noise_1": "e" * 16})) for r in
             [scored("linear", 0, 50.0, {"noise_1": 20.0})]]  # fmt: skip
    records = [*two_methods(), *other]
    boards = build_boards(record_frame(records), SUITES)
    assert len(boards) == 2
    assert len({board.name for board in boards}) == 2


def written(folder: Path, records: list[Record]) -> Path:
    for record in records:
        Store(folder).write(record)
    regenerate(folder)
    return folder


def test_a_report_writes_the_page_its_csv_and_its_picture(tmp_path: Path) -> None:
    folder = written(tmp_path, two_methods())
    for name in ("shifts.md", "shifts.csv", "pictures/shifts.svg"):
        assert (folder / name).is_file()
        (folder / name).write_text("mine", encoding="utf-8")
    assert {path.name for path in stale_files(folder)} >= {"shifts.md", "shifts.csv"}


def test_without_further_sets_there_is_no_page(tmp_path: Path) -> None:
    folder = written(tmp_path, [make("linear", "digits")])
    assert not (folder / "shifts.md").exists()
    assert not (folder / "pictures" / "shifts.svg").exists()
