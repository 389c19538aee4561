"""README, CONTRIBUTING and docs/ agree with the code, and docstrings follow the prose rule."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import pytest

import methods
from bench.cli.main import main
from bench.utils.files import REPO_ROOT
from methods.shared import registry

README = (REPO_ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*REPO_ROOT.glob("*.md"), *(REPO_ROOT / "docs").rglob("*.md")])
SOURCES = sorted(path for top in ("bench", "methods") for path in (REPO_ROOT / top).rglob("*.py"))
# made when the site is built, as tests/test_site.py checks
GENERATED = {
    REPO_ROOT / "docs" / "reference" / f"{name}.md"
    for name in ("commands", "recipes", "records", "python")
}
ENTRY_POINT_GROUP = "bench.methods"  # looks like a module and is none


def test_the_readme_fits_two_screens_and_contributing_one():
    assert len(README.splitlines()) <= 110
    assert len((REPO_ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) <= 80


def test_the_readme_s_leaderboard_is_the_committed_one():
    board = re.findall(r"^\|.*\|$", README, re.MULTILINE)
    committed = (REPO_ROOT / "results" / "leaderboard.md").read_text(encoding="utf-8")
    assert board
    for line in board:
        assert line in committed, line


def test_the_readme_counts_the_pairs_that_the_committed_boards_tell_apart():
    committed = (REPO_ROOT / "results" / "leaderboard.md").read_text(encoding="utf-8")
    counted = dict(re.findall(r"(?ms)^## vtab_mini v1, (\w+), .*?: (\d+) of 630 pairs", committed))
    said = " ".join(README.split())
    assert f"{counted['vit_micro_sup']} of the 630 pairs" in said
    assert f"({counted['vit_micro_mae']} on `vit_micro_mae`)" in said


def test_the_readme_gives_the_committed_agreement_with_the_published_orders():
    committed = (REPO_ROOT / "results" / "leaderboard.md").read_text(encoding="utf-8")
    board = committed.split("## vtab_mini v1, vit_micro_sup")[1]
    found = re.search(r"supervised (\S+ \(\S+ to \S+), .*?MAE (\S+ \(\S+ to \S+),", board)
    assert found
    said = " ".join(README.split())
    assert f"is {found[1]}) for supervised and {found[2]}) for MAE" in said


def test_the_findings_quote_the_three_sentences_of_the_tricks_page():
    page = (REPO_ROOT / "results" / "tricks.md").read_text(encoding="utf-8")
    findings = (REPO_ROOT / "docs/explained/findings.md").read_text(encoding="utf-8")
    sentences = page.split("# What each trick is worth\n\n")[1].split("\n\n")[:3]
    assert [line for line in sentences if f"\n- {line}\n" not in findings] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_links_and_pictures_of_a_document_exist(document):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text(encoding="utf-8")):
        path = (document.parent / target).resolve()
        assert path.exists() or path in GENERATED, target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_paths_and_modules_that_a_document_names_exist(document):
    text = document.read_text(encoding="utf-8")
    paths = re.findall(r"(?<![\w/.-])(?:bench|methods|datasets|tests|docs)/[\w./*-]*\w/?", text)
    for path in paths:
        if not re.search(r"[A-Z]{2}", path):  # a placeholder such as PAPER
            assert list(REPO_ROOT.glob(path)), path
    for name in re.findall(r"(?<![\w/.-])(?:bench|methods)(?:\.\w+)+", text):
        if name != ENTRY_POINT_GROUP:
            resolve_name(name)  # raises where there is none


def docstrings(path: Path) -> Iterator[str]:
    """The docstrings of a module, its classes and its functions."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, kinds) and (text := ast.get_docstring(node)):
            yield text


def test_docstrings_are_not_riddles():
    riddle = re.compile(r"\AWhat |\b(?:anew|that which)\b")
    found = {
        str(path.relative_to(REPO_ROOT)): text
        for path in SOURCES
        for text in docstrings(path)
        if riddle.search(text)
    }
    assert not found


def test_ci_runs_the_readme_s_test_command():
    script = (REPO_ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "README.md" in script
    assert re.search(r"<!-- tests -->\n```bash\n.+tox\n```", README)


def test_no_document_names_a_path_of_the_machine_it_was_written_on():
    for path in [
        *REPO_ROOT.glob("*.md"),
        *REPO_ROOT.glob("results/*.md"),
        *REPO_ROOT.glob("results/records/**/*.json"),
    ]:
        assert not re.search(r"/(work|tmp|root|home)/", Path(path).read_text(encoding="utf-8")), (
            path
        )


def test_the_walk_through_s_method_keeps_the_contract(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("methods.shared.registry._methods", dict(registry._methods))
    page = (REPO_ROOT / "docs" / "how_to" / "method.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.+?)```", page, re.DOTALL).group(1)
    assert len(code.splitlines()) < 42
    (tmp_path / "scaled.py").write_text(code, encoding="utf-8")
    assert main(["check-method", "vpt_scaled", "--plugin", str(tmp_path / "scaled.py")]) == 0


def test_the_example_in_python_runs_as_it_is_written(tmp_path, monkeypatch, capsys, no_figures):
    monkeypatch.chdir(tmp_path)
    page = (REPO_ROOT / "docs" / "how_to" / "python.md").read_text(encoding="utf-8")
    assert len(page.splitlines()) < 50
    exec(re.search(r"```python\n(.+?)```", page, re.DOTALL).group(1), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["2 cells to run", "0 of 2 cells failed"]
    assert {line.split()[0] for line in lines[2:]} == {"linear", "bias"}
    assert (tmp_path / "demo" / "leaderboard.md").exists()


def test_the_committed_ledger_holds_the_golden_count_of_every_method():
    page = (REPO_ROOT / "results" / "parameters.md").read_text(encoding="utf-8")
    golden = json.loads(
        (REPO_ROOT / "tests" / "golden" / "trainable.json").read_text(encoding="utf-8")
    )
    rows = dict(re.findall(r"^\| (\w+) .*?\| +([\d,]+) \| +[\d,]+ \|$", page, re.MULTILINE))
    # with the classes, or shrinks: the golden count has none
    grows = {"mp", "mp_plus", "vqt", "bi_adaptformer_1"}
    for name in set(methods.names()) - grows:
        assert int(rows[name].replace(",", "")) == golden[name], name
