"""The generated results folder: the same bytes for the same records, in any order.

The records are made up (`support.made_up_records`) and say nothing about any method. After an
intended change of the tables, ``PYTHONPATH=.:tests python tests/report/test_generate.py``
rewrites the golden files.
"""

import hashlib
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.records.store import Store, read_valid
from bench.report.boards import build_boards
from bench.report.figures.label_placement import overlap_areas, place_labels
from bench.report.figures.pareto import SECOND_UNITS, fit_scale
from bench.report.frame import record_frame
from bench.report.generate import regenerate, stale_files
from bench.report.html.leaderboard import ranked_rows
from bench.report.html.methods import row_data
from bench.report.leaderboard import render_leaderboard
from bench.report.records_csv import records_csv
from bench.report.rows import accuracy_table
from support.made_up_records import TASKS, boards, forty, make, row, write
from support.paths import GOLDEN, REPO_ROOT

TEXTS = ["leaderboard.md", "leaderboard.csv", "statistics.md", "ledgers.md", "known.md"]
PICTURES = [
    "leaderboard.svg",
    "pictures/init_seconds.svg",
    "pictures/train_seconds.svg",
    "pictures/critical_difference.svg",
    "pictures/difference_to_full.svg",
    "leaderboard.png",
]
FILES = [*TEXTS, "index.html", *PICTURES]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write(tmp_path, forty())
    return tmp_path


def named(paths: Iterable[Path], results: Path) -> list[str]:
    return [path.relative_to(results).as_posix() for path in paths]


@pytest.mark.parametrize("name", TEXTS)
def test_the_text_is_the_golden_text(results: Path, name: str) -> None:
    regenerate(results)
    assert (results / name).read_text(encoding="utf-8") == (GOLDEN / name).read_text(
        encoding="utf-8"
    )


def test_all_files_are_written(results: Path) -> None:
    made = regenerate(results)
    assert named(made.written, results) == FILES
    assert made.problems == []
    assert stale_files(results) == []


def test_the_order_of_the_records_changes_nothing() -> None:
    records = forty()
    first = render_leaderboard(boards(records), ""), records_csv(records)
    for seed in range(3):
        random.Random(seed).shuffle(records)
        assert (render_leaderboard(boards(records), ""), records_csv(records)) == first


def test_another_process_writes_the_same_bytes_without_torch(results: Path, tmp_path: Path) -> None:
    written = regenerate(results).written
    before = {path: digest(path) for path in written}
    code = (
        "import sys; from pathlib import Path; from bench.report.generate import regenerate;"
        f"regenerate(Path({str(results)!r}));"
        "assert not {'torch', 'timm', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    random.Random(1).shuffle(shuffled := forty())
    write(results, shuffled)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPO_ROOT)
    assert {path: digest(path) for path in written} == before


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_reader_s_matplotlib_style_changes_nothing(results: Path) -> None:
    import matplotlib

    regenerate(results)
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red"}):
        assert stale_files(results) == []


def test_what_was_edited_or_is_missing_is_stale(results: Path) -> None:
    assert named(stale_files(results), results) == [name for name in FILES if name != "index.html"]
    regenerate(results)
    (results / "leaderboard.md").write_text("| 1 | mine | 99.9 |", encoding="utf-8")
    (results / "leaderboard.png").unlink()
    assert named(stale_files(results), results) == ["leaderboard.md", "leaderboard.png"]


def test_the_page_may_be_missing_but_not_edited(results: Path) -> None:
    regenerate(results)
    page = results / "index.html"
    page.write_text(page.read_text(encoding="utf-8") + "<p>mine</p>", encoding="utf-8")
    assert named(stale_files(results), results) == ["index.html"]
    page.unlink()
    assert stale_files(results) == []


def test_without_records_there_is_a_sentence_and_no_figure(results: Path) -> None:
    regenerate(results)
    for path in Store(results).files():
        path.unlink()
    stale = [name for name in FILES if name != "known.md"]  # no record here is beside a paper's
    assert named(stale_files(results), results) == stale
    assert named(regenerate(results).written, results) == [*TEXTS, "index.html"]
    assert "There is no record yet" in (results / "leaderboard.md").read_text(encoding="utf-8")
    assert not (results / "leaderboard.png").exists()
    assert stale_files(results) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"recipe": {"name": "quick", "version": 1, "batch": 32, "epochs": 3}},
        {"recipe": {"name": "unified", "version": 1, "batch": 32, "epochs": 10}},
        {"recipe": {"name": "quick", "version": 2, "batch": 32, "epochs": 10}},
        {"suite_version": 2},
        {"suite": "other"},
        {"backbone": "vit_mini_sup"},
        {"weights": "f" * 64},
        {"input": {"size": 64, "pooling": "token"}},
        {"split": "6" * 32},
    ],
    ids=lambda changed: "-".join(f"{key}" for key in changed),
)
def test_other_settings_never_share_a_table(changed: dict[str, Any]) -> None:
    one, other = row("bias", [60.0] * 5), row("lora", [70.0] * 5, **changed)
    found = boards(one + other)
    assert sorted([r.label for r in board.rows] for board in found) == [["bias"], ["lora"]]
    assert len({board.name for board in found}) == 2


def test_tables_of_one_recipe_name_say_how_they_differ() -> None:
    recipe = {"name": "quick", "version": 1, "batch": 32, "epochs": 3}
    found = boards(row("bias", [60.0] * 5) + row("bias", [50.0] * 5, recipe=recipe))
    assert [board.recipe_name for board in found] == ["quick v1 [epochs=10]", "quick v1 [epochs=3]"]


def test_the_means_are_those_of_a_pocket_calculator() -> None:
    [board] = boards(row("bias", [10, 20, 30, 40, 50]) + row("bias", [20, 30, 40, 50, 60], seed=1))
    [bias] = board.rows
    assert bias.means is not None
    assert bias.means.by_group == {"Natural": 20.0, "Structured": 45.0}
    assert (bias.means.over_tasks, bias.means.over_groups) == (35.0, 32.5)
    assert bias.means.sd == pytest.approx(50**0.5)
    assert (bias.method_params, bias.head_params) == (20_736, 2_316)


def test_times_are_means_over_tasks_and_seeds_and_values_stand_by_task_and_seed() -> None:
    [board] = boards(row("bias", [10, 20]) + row("bias", [11, 21], seed=1) + row("lora", [5, 6]))
    bias, lora = board.rows
    assert (bias.train_seconds, lora.init_seconds) == (12.0, 0.02)
    assert bias.accuracies.tolist() == [[10, 11], [20, 21]]
    assert accuracy_table(board.rows).tolist() == [[10.5, 5], [20.5, 6]]


def test_an_incomplete_row_has_no_mean_and_no_rank(results: Path) -> None:
    board, _ = boards(read_valid(Store(results))[0])
    assert [r.label for r in board.incomplete] == ["full", "spt_deep"]
    assert all(r.means is None for r in board.incomplete)
    assert len(board.comparison.ranks) == len(board.rows) == 4
    below = render_leaderboard([board], "").split("### Incomplete\n\n")[1].split("\n\n")[0]
    assert "mean" not in below
    assert "rank" not in below
    cells = [[cell.strip() for cell in line.split("|")] for line in below.splitlines()]
    assert cells[2][1:-1] == [
        "full",
        "5.529",
        "failed",
        "70.00 (1)",
        "71.50 (1)",
        "–",
        "–",
        "2/5",
        "0.00",
    ]


def test_a_seed_that_failed_leaves_the_row_incomplete() -> None:
    [board] = boards(row("bias", [60.0] * 5) + row("bias", ["failed"] * 5, seed=1))
    assert [r.label for r in board.incomplete] == ["bias"]


def test_tasks_without_a_seed_in_common_leave_the_row_incomplete() -> None:
    [board] = boards(row("bias", [60.0] * 5)[:3] + row("bias", [60.0] * 5, seed=1)[3:])
    assert [r.label for r in board.incomplete] == ["bias"]


def test_more_seeds_on_one_task_leave_the_row_as_it_is_without_them() -> None:
    whole = row("bias", [60.0] * 5) + row("bias", [62.0] * 5, seed=2)
    more = [*whole, *row("bias", [99.0], seed=1)]
    [without], [board] = boards(whole), boards(more)
    [found] = board.rows
    assert found.means == without.rows[0].means
    assert found.seeds == [0, 2]
    assert found.cells[TASKS[0]].unshared == {1: 99.0}
    said = "Seeds left out, as not all tasks have them: bias on digits (1)."
    assert said in render_leaderboard([board], "")
    assert "left out" not in render_leaderboard([without], "")
    [shown] = [row_data(board, row, rank, {}) for row, rank in ranked_rows(board)]
    _, _, seeds = shown["tasks"][0]
    assert [text for _, text, _ in seeds] == ["60.00", "99.00", "62.00"]


def test_tasks_stand_in_the_card_s_order_and_those_not_run_are_named() -> None:
    [board] = boards(row("bias", [60.0] * 5)[::-2])
    assert board.tasks == ["digits", "sprites_location", "count"]
    assert board.not_run == ["photo_crops", "sprites_orientation"]
    assert "not run: photo_crops, sprites_orientation" in render_leaderboard([board], "")


def test_a_suite_without_a_card_is_shown_all_the_same() -> None:
    [board] = build_boards(
        record_frame([make("bias", "b", suite="own"), make("bias", "a", suite="own")]), {}
    )
    assert board.tasks == ["a", "b"]
    assert board.groups == {"Other": ["a", "b"]}


def test_methods_that_the_tasks_cannot_tell_apart_share_their_ranks() -> None:
    means = {"a": 60.001, "b": 60.004, "c": 70.0, "d": 50.0}
    [board] = boards(r for method, mean in means.items() for r in row(method, [mean] * 5))
    assert [r.label for r in board.rows] == ["c", "b", "a", "d"]
    assert board.comparison.ranks == [(1, 4)] * 4  # five tasks cannot reach 0.05
    said = render_leaderboard([board], "")
    assert "0 of 6 pairs have a corrected p below 0.05" in said
    assert "with 5 tasks the smallest possible one is 0.38" in said


def test_fields_are_named_where_rows_of_a_method_differ_in_them() -> None:
    fields = [{"prompts": 20, "init": "rand"}, {"prompts": 50, "init": "rand"}]
    [board] = boards(r for table in fields for r in row("vpt", [60.0] * 5, fields=table))
    assert [r.label for r in board.rows] == ["vpt[prompts=20]", "vpt[prompts=50]"]


def test_the_method_as_registered_keeps_its_name_beside_rows_with_changed_fields() -> None:
    plain = row("vpt", [60.0] * 5, fields={"prompts": 20})
    changed = row("vpt", [61.0] * 5, fields={"prompts": 50})
    asked = [replace(record, request={"changes": {"prompts": 50}}) for record in changed]
    [board] = boards(plain + asked)
    assert [r.label for r in board.rows] == ["vpt[prompts=50]", "vpt"]


def test_rates_chosen_for_each_task_share_a_row_and_rates_compared_do_not() -> None:
    low, high = {"lr": 0.001}, {"lr": 0.1}
    chosen = row("bias", [60.0] * 2, rates=low) + row("bias", [60.0] * 5, rates=high)[2:]
    [board] = boards(chosen)
    assert [(r.label, r.rates) for r in board.rows] == [("bias", {})]
    [board] = boards(row("bias", [60.0] * 5, rates=low) + row("bias", [61.0] * 5, rates=high))
    assert [r.label for r in board.rows] == ["bias[lr=0.1]", "bias[lr=0.001]"]


def test_a_column_s_end_in_a_name_does_not_break_the_table() -> None:
    text = render_leaderboard(boards(row("a|b<c>", [60.0] * 5)), "")
    lines = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert "<c>" not in text


def test_an_unsound_record_is_named_and_skipped(results: Path) -> None:
    regenerate(results)
    broken = results / "records" / "mini" / "broken.json"
    broken.write_text("{", encoding="utf-8")
    found = regenerate(results).problems
    assert len(found) == 1
    assert "broken.json is not a record" in found[0]
    assert (results / "leaderboard.md").read_text(encoding="utf-8") == (
        GOLDEN / "leaderboard.md"
    ).read_text(encoding="utf-8")


def test_a_copied_record_is_not_one_more_seed(results: Path) -> None:
    original = Store(results).files()[0]
    original.with_name("copy.json").write_bytes(original.read_bytes())
    records, problems = read_valid(Store(results))
    assert len(records) == len(forty())
    assert len(problems) == 1
    assert "copy.json" in problems[0]


def test_impossible_records_are_skipped(tmp_path: Path) -> None:
    good = make("bias", "digits")
    nan = make("bias", "count", accuracy=float("nan"))
    neither = replace(make("bias", "photo_crops"), outcome=None)
    records, problems = read_valid(write(tmp_path, [good, nan, neither]))
    assert [r.settings.task for r in records] == ["digits"]
    assert len(problems) == 2


def test_labels_in_the_figure_do_not_overlap() -> None:
    points = np.array([[100.0, 100.0 + i % 4] for i in range(12)])
    sizes = np.tile([60.0, 9.0], (12, 1))
    marks = np.concatenate([points - 4, points + 4], axis=1)
    boxes = place_labels(points, sizes, marks, np.array([0.0, 0.0, 300.0, 200.0]))
    assert np.triu(overlap_areas(boxes, boxes), 1).sum() == 0
    assert overlap_areas(boxes, marks).sum() == 0
    assert boxes.min() >= 0


@pytest.mark.parametrize(
    ("counts", "texts"),
    [
        ([0, 9_600, 5_526_720], ["0", "10k", "100k", "1M", "10M"]),
        ([9_600, 147_456], ["10k", "100k"]),
        ([46_080, 46_080], ["40k", "50k", "60k"]),
        ([0, 0], ["0"]),
    ],
)
def test_the_axis_has_a_place_for_0_and_two_ticks(counts: list[float], texts: list[str]) -> None:
    scale = fit_scale(counts)
    assert list(scale.ticks().values()) == texts
    assert all(scale.low < scale.at(count) < scale.high for count in counts)


def test_an_axis_of_seconds_has_their_units() -> None:
    ticks = fit_scale([0.00002, 30.0], SECOND_UNITS).ticks().values()
    assert list(ticks) == ["10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s"]
    assert list(fit_scale([0.0, 0.02], SECOND_UNITS).ticks().values())[:2] == ["0", "20 ms"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), forty())
        regenerate(Path(folder))
        for name in TEXTS:
            (GOLDEN / name).write_bytes(Path(folder, name).read_bytes())
