"""The page of tricks: a golden one on made-up records, its commands, and its three sentences.

After an intended change, ``PYTHONPATH=.:tests python tests/report/test_tricks.py`` rewrites the
golden page.
"""

import random
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.records.schema import Record, Trial, TuningResult
from bench.report import tricks
from bench.report.frame import record_frame
from bench.report.generate import regenerate, stale_files
from support.made_up_records import TASKS, boards, forty, row, write
from support.paths import GOLDEN

RATES = (0.001, 0.005)


def every_kind() -> list[Record]:
    """The forty of other tests; tuned ones; other seeds, rates, data, inputs and checkpoints."""
    draw = random.Random(1)
    made = forty()
    for method, mean in (("bias", 60.0), ("ssf", 62.0)):
        for seed in range(5):
            accuracies = [round(draw.gauss(mean, 3), 2) for _ in TASKS]
            made += row(method, accuracies, seed)
        for changed in _kinds():
            accuracies = [round(draw.gauss(mean, 3), 2) for _ in TASKS]
            made += row(method, accuracies, **changed)
        for rate in RATES:
            accuracies = [round(draw.gauss(mean, 3), 2) for _ in TASKS]
            rates = {"lr": rate, "weight_decay": 0.01}
            made += [
                _tuned(r, draw) for r in row(method, accuracies, rates=rates, recipe=_recipe())
            ]
    return made


def _recipe(**changed: Any) -> dict[str, Any]:
    return {"name": "long", "version": 1, "batch": 32, "epochs": 20, **changed}


def _kinds() -> list[dict[str, Any]]:
    plain = {"input": {"size": 32, "timm": "vit_tiny"}}
    return [
        {**plain, "recipe": _recipe(epochs=30)},
        {**plain, "recipe": _recipe(epochs=30, normalisation="none")},
        {**plain, "recipe": _recipe(epochs=40), "split": f"lossless:{'5' * 32}"},
        {**plain, "recipe": _recipe(epochs=40), "split": f"jpeg75:{'6' * 32}"},
        {**plain, "recipe": _recipe(epochs=30), "backbone": "other|name", "weights": "e" * 64},
    ]


def _tuned(record: Record, draw: random.Random) -> Record:
    points = [{"lr": rate, "weight_decay": 0.01} for rate in RATES]
    trials = [Trial(point, 20, round(draw.uniform(40, 70), 2), 1.0, "") for point in points]
    return replace(record, tuned=TuningResult(0, 2.0, trials))


def page(records: list[Record]) -> str:
    return tricks.render_tricks([(boards(records), record_frame(records))])


@pytest.fixture(scope="module")
def golden_page() -> str:
    return page(every_kind())


def test_the_page_is_the_golden_page(golden_page: str) -> None:
    assert golden_page == (GOLDEN / "tricks.md").read_text(encoding="utf-8")


def test_the_order_of_the_records_changes_nothing(golden_page: str) -> None:
    records = every_kind()
    random.Random(0).shuffle(records)
    assert page(records) == golden_page


def test_without_records_every_trick_has_commands_and_none_a_number() -> None:
    said = page([])
    assert said.count("No records show it; they come from `python -m bench run") == len(
        tricks.TRICKS
    )
    assert "|" not in said


def test_every_trick_that_is_shown_has_an_interval_and_its_pairs(golden_page: str) -> None:
    for section in golden_page.split("\n## ")[1:]:
        lines = [line for line in section.splitlines() if line.startswith("|")]
        for line in lines[2:]:
            assert re.search(r"[+-]\d+\.\d\d \[[+-]\d+\.\d\d, [+-]\d+\.\d\d\]", line), line
            assert re.search(r"\d+ \[\d+ %, \d+ %\]", line), line
        assert lines == [] or "pairs" in lines[0]


def test_most_tricks_are_shown_by_these_records(golden_page: str) -> None:
    shown = [section for section in golden_page.split("\n## ")[1:] if "|" in section]
    assert len(shown) == len(tricks.TRICKS) - 3  # 4, 8 and 16 trials


COMMANDS = sorted({command for trick in tricks.TRICKS for command in trick.commands})


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_the_page_names_can_be_parsed(command: str) -> None:
    python, flag, program, *words = shlex.split(command)
    assert (python, flag, program) == ("python", "-m", "bench")
    files = main.command_files()
    parser = main._parser(files, words[0], main.load_command(files[words[0]]))
    assert parser.parse_args(words).suite in ("mini", "vtab1k")


def test_names_are_unique_headings() -> None:
    names = [trick.name for trick in tricks.TRICKS]
    assert len(set(names)) == len(names)


def test_the_summary_has_three_sentences_and_those_of_the_most_swaps(golden_page: str) -> None:
    records = every_kind()
    built, frame = boards(records), record_frame(records)
    found = [(trick, list(trick.effects(built, frame))) for trick in tricks.TRICKS]
    said = tricks.summary(found)
    assert len(said) == 3
    assert all(sentence in golden_page for sentence in said)
    shares = [
        max(e.swaps_of_one / e.pairs for e in effects if e.before.size == largest)
        for _, effects in found
        if effects and (largest := max(e.before.size for e in effects))
    ]
    first = re.search(r"(\d+) of (\d+) pairs swap", said[0])
    assert first
    assert int(first[1]) / int(first[2]) == pytest.approx(max(shares))
    assert sum("trials instead" in sentence for sentence in said) <= 1
    assert tricks.summary([(tricks.TRICKS[0], [])]) == []


def test_a_report_keeps_the_page_up_to_date_once_it_is_there(tmp_path: Path) -> None:
    write(tmp_path, forty())
    assert tmp_path / tricks.PAGE not in stale_files(tmp_path)
    (tmp_path / tricks.PAGE).write_text("old", encoding="utf-8")
    assert tmp_path / tricks.PAGE in stale_files(tmp_path)
    assert tmp_path / tricks.PAGE in regenerate(tmp_path).written
    assert (tmp_path / tricks.PAGE).read_text(encoding="utf-8") == page(forty())


if __name__ == "__main__":
    (GOLDEN / "tricks.md").write_text(page(every_kind()), encoding="utf-8")
