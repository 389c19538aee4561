"""Records shown and compared."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.cli.main import main
from bench.records.predictions import Predictions
from bench.records.store import Store
from support import honest_records as honest


@pytest.fixture
def theirs(tmp_path: Path) -> Store:
    return honest.write(tmp_path / "theirs", honest.honest(), honest.honest("spt_deep", 606))


def test_a_cell_is_shown_by_the_first_digits_of_its_name(
    theirs: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    one, _ = honest.honest()
    assert main(["show", one.settings.digest()[:6], "--results", str(theirs.root)]) == 0
    shown = capsys.readouterr().out
    assert json.loads(shown.split("\n\nrecord:")[0])["cell"] == one.cell
    assert "again:  python -m bench run --suite mini --methods vpt_deep" in shown


@pytest.mark.parametrize(
    ("name", "said"),
    [("ab", "named by 4 digits or more"), ("zzzz", "no record in"), ("", "4 digits or more")],
)
def test_a_name_of_no_cell_is_a_sentence(
    theirs: Store, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", name, "--results", str(theirs.root)]) == 2
    assert said in capsys.readouterr().err


def test_two_cells_differ_in_what_is_named_and_by_mcnemar_s_test(
    theirs: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [honest.honest(method)[0].settings.digest() for method in ("vpt_deep", "spt_deep")]
    assert main(["diff", *cells, "--results", str(theirs.root)]) == 0
    said = capsys.readouterr().out
    assert "settings.method" in said
    assert "settings.task" not in said
    assert "0 right in the first alone, 6 in the second alone, p = 0.0312" in said


def test_a_cell_does_not_differ_from_itself(
    theirs: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = honest.honest()[0].settings.digest()
    assert main(["diff", cell, cell, "--results", str(theirs.root)]) == 0
    assert "nothing differs" in capsys.readouterr().out


def test_the_hash_of_predictions_is_of_the_predicted_classes_alone() -> None:
    classes, labels = np.array([1, 0, 2], np.int16), np.array([1, 1, 1], np.int16)
    one = Predictions(classes, labels).sha256()
    assert one == Predictions(classes, None).sha256()
    assert one == Predictions(classes, 1 - labels).sha256()
    assert one != Predictions(classes[::-1].copy(), labels).sha256()
