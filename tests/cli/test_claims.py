"""``bench claims``: what was asked for is known before anything is written."""

from pathlib import Path

import pytest

from bench.cli.main import main
from support import made_up_records


@pytest.mark.parametrize("name", ["quik", "no.toml", "\udcff", "\x1b[31m"])
def test_an_unknown_recipe_is_named_and_nothing_is_written(name, tmp_path: Path, capsys) -> None:
    made_up_records.write(tmp_path, made_up_records.forty()[:1])
    before = sorted(tmp_path.rglob("*"))
    assert main(["claims", "--results", str(tmp_path), "--recipe", name]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
