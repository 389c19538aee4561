"""Everything that a report writes, from records all of whose texts are hostile."""

import csv
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pandas as pd
import pytest

from bench.papers.study import StudyFigure, load_study
from bench.records import description
from bench.records.schema import Record
from bench.records.store import FolderRecords
from bench.report import (
    boards,
    figures,
    frame,
    generate,
    ledger_files,
    paper_tables,
    paper_values,
    record_diff,
    study_page,
)
from bench.report.boards import Board
from bench.utils.escaping import for_terminal
from bench.utils.files import FileContents
from support import hostile, hostile_records

TEXTS = [text for name, text in hostile.TEXTS.items() if name != "surrogate"]  # of no file
TRIALS = ("lr", "weight_decay", "epochs", "val_accuracy")
COSTS = ("batch", "train_step_ms", "test_batch_ms", "peak_memory_mb", "stored_bytes")
GROUPS = [TEXTS[i : i + 12] for i in range(0, len(TEXTS), 12)]


@pytest.fixture(params=range(len(GROUPS)))
def records(request: pytest.FixtureRequest) -> list[Record]:
    return hostile_records.board(GROUPS[request.param])


def boards_of(records: list[Record]) -> list[Board]:
    return boards.build_boards(frame.record_frame(records), {})


def problems(made: FileContents) -> list[str]:
    return [problem for n, c in made.items() if c for problem in hostile.problems(n, c)]


def write_csv_files(results: Path) -> None:
    """The trials and costs of which the ledgers tell, as another program may have written them."""
    texts = cycle(text for text in TEXTS if text.splitlines() == [text])
    for name, numbers in (
        (ledger_files.TUNING_CSV, {**dict.fromkeys(TRIALS, "1"), "fields": "{}"}),
        (ledger_files.COST_CSV, dict.fromkeys(COSTS, "1")),
    ):
        heads = [*ledger_files.SEARCH_CELL, *ledger_files.WORKLOAD, *numbers]
        lines = [{**{h: next(texts) for h in heads}, **numbers} for _ in range(8)]
        with (results / name).open("w", encoding="utf-8", errors="replace", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(heads)))
            writer.writeheader()
            writer.writerows(lines)


def test_no_page_table_or_figure_takes_a_text_for_more(
    records: list[Record], tmp_path: Path
) -> None:
    write_csv_files(tmp_path)
    boards, frame = generate._boards_and_frame(records, tmp_path)
    found = FolderRecords(records, records[:3], [])
    made = generate._render_all(found, tmp_path, boards, frame)
    assert {Path(name).suffix for name, content in made.items() if content} >= {
        *(".md", ".csv", ".html", ".svg", ".png")
    }
    assert made["leaderboard.md"].count(hostile.MARK.encode()) > 20
    assert not problems(made)


@pytest.mark.parametrize("kind", ["csv", "latex"])
def test_no_export_takes_a_text_for_more(kind: str, records: list[Record]) -> None:
    ending, write = generate.EXPORT_FORMATS[kind]
    content = write(records, boards_of(records))
    assert hostile.MARK.encode() in content
    assert not hostile.problems(f"results.{ending}", content)


def test_no_table_of_a_paper_takes_a_text_for_more() -> None:
    shown = frame.record_frame(hostile_records.of_papers())
    made = paper_tables.render_tables("spt2024", shown, against=True)
    made |= paper_tables.claims_files(paper_values.check_papers(shown))
    assert any(hostile.MARK in text for text in made.values())
    assert not problems({name: text.encode() for name, text in made.items()})


@pytest.mark.sample(1)
@pytest.mark.parametrize("texts", GROUPS, ids=range(len(GROUPS)))
def test_no_page_of_a_study_takes_its_card_s_texts_for_more(
    texts: list[str], tmp_path: Path
) -> None:
    named = load_study("spt2024/fig3a")
    for text in texts:
        study = copy(named.study)
        for field in ("title", "shows"):  # which reading holds to one line
            object.__setattr__(study, field, text)
        stem = text.replace("/", "").replace("\0", "")
        asked = replace(named, study=study, name=text, stem=stem)
        made = study_page.render_files(asked, False, {}, tmp_path)
        assert hostile.MARK.encode() in next(c for n, c in made.items() if c and n.endswith(".md"))
        assert not problems(made)


def summaries(texts: list[str]) -> Iterator[tuple[StudyFigure, pd.DataFrame]]:
    """A figure of each kind, with the values that it shows."""
    table = pd.DataFrame(
        [(a, b, 1.0, 0.5, 1.5) for a in texts for b in texts[:3]],
        columns=["method", "task", "mean", "low", "high"],
    ).assign(prompts=range(3 * len(texts)))
    bars = StudyFigure("bars", "task", "accuracy", lines=["method"], panels=[])
    yield bars, table
    yield replace(bars, kind="curves", x="prompts", panels=["task"]), table
    yield replace(bars, kind="heat map", x="task", y="method", lines=[]), table


@pytest.mark.sample(1)
@pytest.mark.parametrize("texts", GROUPS, ids=range(len(GROUPS)))
def test_no_figure_of_a_study_takes_a_name_for_more(texts: list[str]) -> None:
    for figure, summary in summaries(texts):
        drawn = figures.draw_study(figure, summary)
        assert drawn
        assert not hostile.problems("figure.svg", drawn.svg())
        drawn.png()


def test_no_table_of_a_study_takes_a_name_for_more() -> None:
    for figure, summary in summaries(TEXTS):
        figure = replace(figure, lines=["method"])
        found = hostile.problems("a.md", study_page._values_table(summary, figure).encode())
        assert not found + hostile.problems("a.csv", study_page._to_csv(summary))


def test_no_line_about_a_record_takes_a_text_for_more(records: list[Record]) -> None:
    for record in records:
        lines = [
            description.describe_cell(record),
            description.describe_outcome(record),
            record_diff.rerun_command(record),
            *map(str, record_diff.record_differences(record, records[0])),
        ]
        assert not [p for line in lines for p in hostile.in_terminal(for_terminal(line))]
