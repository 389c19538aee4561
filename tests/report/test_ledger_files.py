"""The tables of trials and costs: a line that is none is a sentence."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.report import ledger_files
from bench.report.ledger_files import Lines
from bench.utils.errors import UserError

TRIAL = dict.fromkeys(ledger_files.SEARCH_CELL, "a") | {"lr": "0.1", "weight_decay": "0.01"}
TRIAL |= {"fields": '{"rank": 8}', "epochs": "10", "val_accuracy": "-inf"}
COST = dict.fromkeys((*ledger_files.WORKLOAD, "method"), "a") | {"batch": "32"}
COST |= {"train_step_ms": "1.5", "test_batch_ms": "0.5", "peak_memory_mb": "9"}
COST |= {"stored_bytes": "100"}
TABLES = {
    "tuning.csv": (TRIAL, ledger_files.read_trials),
    "cost.csv": (COST, ledger_files.read_costs),
}
Reading = Callable[[Path], Lines]


def write(folder: Path, name: str, line: dict[str, str]) -> None:
    text = io.StringIO()
    table = csv.DictWriter(text, line)
    table.writeheader()
    table.writerow(line)
    (folder / name).write_text(text.getvalue(), encoding="utf-8")


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_read_as_it_was_written(name: str, tmp_path: Path) -> None:
    line, read = TABLES[name]
    assert read(tmp_path) == []
    write(tmp_path, name, line)
    assert read(tmp_path) == [line]


def test_an_early_table_of_trials_has_neither_fields_nor_epochs(tmp_path: Path) -> None:
    line = {k: v for k, v in TRIAL.items() if k not in ("fields", "epochs")}
    write(tmp_path, "tuning.csv", line)
    assert ledger_files.read_trials(tmp_path) == [line]


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [
        ("tuning.csv", "lr", "fast"),
        ("tuning.csv", "lr", ""),
        ("tuning.csv", "val_accuracy", "nan"),
        ("tuning.csv", "epochs", "1.5"),
        ("tuning.csv", "fields", "[1]"),
        ("tuning.csv", "fields", "[" * 10**5),
        ("tuning.csv", "method", None),
        ("cost.csv", "train_step_ms", "0"),
        ("cost.csv", "test_batch_ms", "-1"),
        ("cost.csv", "batch", "9" * 5_000),
        ("cost.csv", "stored_bytes", "many"),
        ("cost.csv", "device", None),
    ],
    ids=range(12),
)
def test_a_value_that_cannot_be_is_a_sentence(
    name: str, column: str, value: str | None, tmp_path: Path
) -> None:
    line, read = TABLES[name]
    left = {k: v for k, v in line.items() if k != column}
    write(tmp_path, name, left if value is None else {**left, column: value})
    with pytest.raises(UserError) as caught:
        read(tmp_path)
    said = str(caught.value)
    assert f"{name} cannot be read: " in said
    assert column in said
    assert len(said) < 500


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a,b\n1,2,3\n", b"a\n" + b"x" * 200_000])
@pytest.mark.parametrize("name", TABLES)
def test_what_is_no_table_is_a_sentence(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        TABLES[name][1](tmp_path)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_is_a_link_is_a_sentence(name: str, tmp_path: Path) -> None:
    write(tmp_path, "other.csv", TABLES[name][0])
    (tmp_path / name).symlink_to(tmp_path / "other.csv")
    with pytest.raises(UserError, match="it is a link"):
        TABLES[name][1](tmp_path)
