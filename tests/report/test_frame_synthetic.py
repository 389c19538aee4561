"""Records of a rehearsal beside real ones: tables of their own, and no part in any comparison.

The records are made up. Of each real one there are two of a rehearsal, on synthetic images, with an
accuracy that no real one has: wherever it stands on a page, the page must say what it is.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.papers.known import load_known
from bench.records import schema
from bench.records.predictions import Predictions
from bench.records.schema import Record, Settings
from bench.report import data_frames, known_page, paper_tables, paper_values, study_data, tricks
from bench.report.agreement_page import CSV as AGREEMENT_CSV
from bench.report.agreement_page import PAGE as AGREEMENT_PAGE
from bench.report.boards import build_boards
from bench.report.frame import record_frame
from bench.report.generate import as_latex
from bench.report.html.cells import records_data
from bench.report.html.leaderboard import place_of
from bench.report.leaderboard import SYNTHETIC_NOTE
from bench.report.ledgers import render_ledgers
from bench.report.records_csv import records_csv
from bench.report.stated import stated_rows
from support import honest_records as honest
from support import synthetic_records
from support.made_up_records import SUITES, boards, forty, make, write

SPLIT = f"{schema.SYNTHETIC}:{'7' * 16}-{'8' * 16}"
MARKED = 98.76  # the accuracy of every record of the rehearsal
SHOWN = f"{MARKED:.2f}"
pytestmark = pytest.mark.usefixtures("no_figures")


def rehearsed(records: Iterable[Record]) -> Iterator[Record]:
    """Yield two records of a rehearsal for each real one, with seeds of their own, too."""
    for record in records:
        for seed in (record.settings.seed, record.settings.seed + 100):
            settings = replace(record.settings, split=SPLIT, seed=seed)
            asked = {**record.request, "seed": seed} if record.request else {}
            outcome = record.outcome and _marked(record)
            yield replace(
                record, settings=settings, outcome=outcome, request=asked, cell=settings.digest()
            )


def _marked(record: Record) -> schema.Outcome:
    assert record.outcome is not None
    last = record.settings.recipe["epochs"]
    scores = {"accuracy": MARKED, "best_epoch_accuracy": MARKED, "best_epoch": last}
    return replace(record.outcome, **scores, test_accuracies={str(last): MARKED})


@pytest.fixture(scope="module")
def real() -> list[Record]:
    """Made-up records of papers' settings, on VTAB-1k and FGVC."""
    return synthetic_records.records()


@pytest.fixture(scope="module")
def both(real: list[Record]) -> list[Record]:
    return [*real, *rehearsed(real)]


def test_settings_say_what_they_are() -> None:
    plain = make("linear", "digits").settings
    assert (plain.is_synthetic, plain.shown_suite) == (False, "mini")
    for changed in ({"split": SPLIT}, {"start_split": SPLIT}, {"shifts": {"other": SPLIT}}):
        found = replace(plain, **changed)
        assert found.is_synthetic
        assert found.variant == schema.SYNTHETIC
        assert found.shown_suite == "mini (synthetic)"
        assert found.digest() != plain.digest()


def test_a_variant_of_prepared_data_is_none_of_a_rehearsal() -> None:
    settings = make("linear", "digits", split=f"jpeg75:{'7' * 16}-{'8' * 16}").settings
    assert (settings.variant, settings.is_synthetic) == ("jpeg75", False)


@pytest.mark.long
def test_claims_are_the_same_with_and_without_a_rehearsal(real, both) -> None:
    found = [
        paper_tables.claims_files(paper_values.check_papers(record_frame(one)))
        for one in (real, both)
    ]
    assert found[0] == found[1]
    assert any("verified" in text for text in found[0].values())


@pytest.mark.sample(1)
@pytest.mark.parametrize("paper", ["spt2024", "vpt2022"])
def test_papers_tables_are_the_same(paper: str, real, both) -> None:
    tables = [
        paper_tables.render_tables(paper, record_frame(one), against=True) for one in (real, both)
    ]
    assert tables[0]
    assert tables[0] == tables[1]


def test_studies_find_the_same_records(real, both) -> None:
    found = [study_data.records_by_cell(record_frame(one)) for one in (real, both)]
    suites = {str(key[0]) for key in found[1] if isinstance(key, tuple)}
    assert suites == {
        f"{name}{kind}" for name in ("fgvc", "vtab1k") for kind in ("", " (synthetic)")
    }
    named = {key: cells for key, cells in found[1].items() if "synthetic" not in str(key)}
    assert {k: [r.cell for r in v] for k, v in named.items()} == {
        k: [r.cell for r in v] for k, v in found[0].items()
    }


def test_known_results_are_the_same(real, both) -> None:
    pages = [
        known_page.render_known(
            known_page.known_rows(
                load_known(), build_boards(record_frame(one), synthetic_records.SUITES)
            )
        )
        for one in (real, both)
    ]
    assert pages[0] == pages[1]
    alone = build_boards(record_frame(rehearsed(real)), synthetic_records.SUITES)
    assert all(row["here"] == "–" for row in known_page.known_rows(load_known(), alone))


def test_the_page_of_tricks_is_the_same() -> None:
    mini = forty()
    pages = [
        tricks.render_tricks([(boards(one), record_frame(one))])
        for one in (mini, [*mini, *rehearsed(mini)])
    ]
    assert pages[0] == pages[1]


def test_no_board_has_both_kinds_and_those_of_a_rehearsal_come_last(both) -> None:
    found = build_boards(record_frame(both), synthetic_records.SUITES)
    kinds = [board.is_synthetic for board in found]
    assert kinds == sorted(kinds)
    assert set(kinds) == {False, True}
    for board in found:
        marks = [
            abs(accuracy - MARKED) < 1e-9
            for row in (*board.rows, *board.incomplete)
            for cell in row.cells.values()
            for accuracy in cell.accuracies.values()
        ]
        assert all(marks) if board.is_synthetic else not any(marks)
        assert ("(synthetic)" in board.name) == board.is_synthetic


def test_the_leaderboard_only_gains_sections_that_say_what_they_are(tmp_path: Path) -> None:
    pages = _generated(tmp_path, "leaderboard.md")
    assert pages[1].startswith(pages[0].rstrip("\n"))
    added = pages[1].removeprefix(pages[0].rstrip("\n")).split("\n## ")[1:]
    assert added
    for section in added:
        assert "(synthetic)" in section.partition("\n")[0]
        assert SYNTHETIC_NOTE in section
        assert "Kendall" not in section


@pytest.mark.parametrize("name", ["leaderboard.csv", "ledgers.md", "statistics.md"])
def test_lines_of_a_rehearsal_are_added_and_no_other_changes(name: str, tmp_path: Path) -> None:
    before, after = (page.splitlines() for page in _generated(tmp_path, name))
    kept, in_section = [], False
    for line in after:
        in_section = "(synthetic)" in line if line.startswith("## ") else in_section
        if "(synthetic)" not in line and not in_section:
            kept.append(line)
            assert SHOWN not in line
    assert _words(kept) == _words(before)


def _words(lines: Iterable[str]) -> list[list[str]]:
    """The words of lines: a table's columns are as wide as their widest cell."""
    return [[word for word in line.split() if set(word) - set("|-:")] for line in lines if line]


def _generated(tmp_path: Path, name: str) -> list[str]:
    mini = forty()
    texts = []
    for folder, records in (("real", mini), ("both", [*mini, *rehearsed(mini)])):
        write(tmp_path / folder, records)
        assert main(["report", "--results", str(tmp_path / folder)]) == 0
        texts.append((tmp_path / folder / name).read_text(encoding="utf-8"))
    return texts


def test_boards_and_records_of_the_html_page_say_it() -> None:
    mini = forty()
    found = boards([*mini, *rehearsed(mini)])
    assert all(("(synthetic)" in place_of(one)[0]) == one.is_synthetic for one in found)
    for record in rehearsed(mini):
        alone = records_data({record.cell: record}, [])
        suite = alone["lines"][0][2][0]
        assert "(synthetic)" in alone["texts"][suite]


def test_what_others_stated_and_exports_say_it() -> None:
    made = list(rehearsed(forty()))
    assert all("(synthetic)" in row["suite"] for row in stated_rows(made))
    assert all("(synthetic)" in line for line in records_csv(made).splitlines()[1:])
    tables = as_latex(made, boards(made)).decode().split("\n\n")
    assert all("(synthetic)" in table.partition("\n")[0] for table in tables)


def test_data_frames_say_it(tmp_path: Path) -> None:
    write(tmp_path, rehearsed(forty()))
    for found in (data_frames.load_results(tmp_path), data_frames.leaderboard(tmp_path)):
        assert set(found["suite"]) == {"mini (synthetic)"}


def test_trials_of_a_rehearsal_are_no_regret_of_real_runs(tmp_path: Path) -> None:
    """Trials are lines of tuning.csv, by the suite as tables name it."""
    lines = ["suite,backbone,recipe,task,method,seed,lr,weight_decay,val_accuracy"]
    runs = []
    for lr in (0.001, 0.005):
        point = {"lr": lr, "weight_decay": 0.01}
        lines.append(f"mini (synthetic),vit_mini_mae,quick,digits,linear,0,{lr},0.01,{MARKED}")
        runs.append(make("linear", "digits", accuracy=50 + 100 * lr, rates=point))
    (tmp_path / "tuning.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    page = render_ledgers(build_boards(record_frame(runs), SUITES), record_frame(runs), tmp_path)
    assert "picked by validation" not in page


def test_agreement_is_of_real_images_alone(tmp_path: Path) -> None:
    made = [honest.honest(name, seed=seed) for name in ("lora", "bias") for seed in range(2)]
    drawn = [(_rehearsed_one(record.settings, kept), kept) for record, kept in made]
    pages = []
    for name, records in (("real", made), ("both", [*made, *drawn])):
        results = honest.write(tmp_path / name, *records).root
        assert main(["agreement", "--results", str(results)]) == 0
        pages.append([(results / page).read_bytes() for page in (AGREEMENT_PAGE, AGREEMENT_CSV)])
    assert pages[0] == pages[1]
    alone = honest.write(tmp_path / "alone", *drawn).root
    assert main(["agreement", "--results", str(alone)]) == 2


def _rehearsed_one(settings: Settings, kept: Predictions | None) -> Record:
    assert kept is not None
    return honest.scored(replace(settings, split=SPLIT), kept)
