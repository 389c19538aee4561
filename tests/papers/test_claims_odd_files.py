"""Files of claims that are none, or hold lines that no page could show: the line at fault."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.papers import claims
from bench.papers.claims import CSV_COLUMNS, PAPERS_FOLDER
from bench.utils.errors import UserError
from support import odd_files

HEADER = ",".join(CSV_COLUMNS)
GOOD = {
    "table": "t",
    "label": "LoRA",
    "method": "lora",
    "fields": "rank=8",
    "backbone": "vit_mini_mae",
    "suite": "mini",
    "on": "digits",
    "metric": "accuracy",
    "value": "90.5",
    "unit": "%",
    "provenance": "own",
    "gain": "",
}


def written(path: Path, **changed: str) -> Path:
    path.write_text(f"{HEADER}\n{','.join((GOOD | changed).values())}\n", encoding="utf-8")
    return path


def test_a_line_is_a_claim(tmp_path: Path) -> None:
    (claim,) = claims.read_claims("own", written(tmp_path / "claims.csv"))
    assert claim.number == 90.5
    assert claim.entry.fixed_fields == {"rank": 8}


@pytest.mark.parametrize("make", odd_files.ODD, ids=lambda make: make.__name__)
def test_claims_that_are_no_file_of_text_are_refused(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "claims.csv"
    make(path)
    with odd_files.time_limit(60), pytest.raises(UserError, match=str(path)) as error:
        claims.read_claims("own", path)
    assert (odd_files.LFS_SENTENCE in str(error.value)) == (make is odd_files.pointer)


@pytest.mark.parametrize(
    "value",
    ["", "x", "NaN", "Infinity", "-inf", "1e9999999", "1E5", "٣", "9" * 5000, "0." + "1" * 5000,
     "1_0"],
)  # fmt: skip
def test_a_value_that_no_paper_prints_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(UserError, match=r"claims\.csv, line 2: .* is not a number") as error:
        claims.read_claims("own", written(tmp_path / "claims.csv", value=value))
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("fields", ["rank", "rank=nan", "a=" + "[" * 5000, f"a={'9' * 5000}", "=1"])
def test_fields_that_no_method_has_are_refused(tmp_path: Path, fields: str) -> None:
    with pytest.raises(UserError, match=r"fields look like share=0\.1") as error:
        claims.read_claims("own", written(tmp_path / "claims.csv", fields=fields))
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "should begin with the line table,label"),
        ("a,b\n1,2\n", "should begin with the line table,label"),
        (f"{HEADER},more\n", "should begin with"),
        (f"{HEADER}\n1,2,3\n", "line 2 should have 12 columns"),
        (f"{HEADER}\n{','.join(GOOD.values())},more\n", "line 2 should have 12 columns"),
        (f'{HEADER}\n"{"x" * 200_000}"\n', "cannot be read"),
        (f'{HEADER}\n"never closed\n', "line 2 should have 12 columns|cannot be read"),
    ],
)
def test_a_table_of_another_form_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "claims.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=says) as error:
        claims.read_claims("own", path)
    assert len(str(error.value)) < 500


def test_layouts_that_are_pointers_of_git_lfs_are_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.papers import layouts

    (tmp_path / "mine").mkdir()
    for name in ("mine/layouts.toml", "mine/claims.csv", "stand_ins.toml"):
        odd_files.pointer(tmp_path / name)
    monkeypatch.setattr(layouts, "PAPERS_FOLDER", tmp_path)
    monkeypatch.setattr(claims, "PAPERS_FOLDER", tmp_path)
    for read in (
        lambda: layouts.load_layouts("mine"),
        lambda: claims.load_claims("mine"),
        lambda: layouts.load_stand_ins("mini"),
    ):
        with pytest.raises(UserError, match=odd_files.LFS_SENTENCE):
            read()
    assert PAPERS_FOLDER.is_dir()
