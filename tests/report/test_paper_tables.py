"""The papers' tables and claims, on made-up records."""

import random
from pathlib import Path

import pytest

import methods
from bench.cli.main import main
from bench.papers import claims, layouts
from bench.papers.claims import Claim, PaperEntry
from bench.records.schema import Record
from bench.report import paper_tables, paper_values
from bench.report.frame import record_frame
from bench.report.paper_values import ClaimChecker, PaperResults, format_value, largest_comparable
from bench.utils.errors import UserError
from support import synthetic_records
from support.made_up_records import row, write
from support.synthetic_records import GOLDEN, MAE, SUITES, record

FGVC, VTAB = SUITES["fgvc"], SUITES["vtab1k"]
NATURAL = PaperEntry("spt_deep", "", MAE, "vtab1k", "Natural", "accuracy")


@pytest.fixture(scope="module")
def tables() -> dict[str, str]:
    return synthetic_records.tables()


def test_every_table_of_every_paper_is_the_golden_one(tables: dict[str, str]) -> None:
    golden = {
        str(p.relative_to(GOLDEN)): p.read_text(encoding="utf-8") for p in GOLDEN.rglob("*.*")
    }
    assert sorted(tables) == sorted(golden)
    for name, content in tables.items():
        assert content == golden[name], f"{name}: see tests/support/synthetic_records.py"


@pytest.mark.long
def test_the_order_of_the_records_changes_no_table(tables: dict[str, str]) -> None:
    shuffled = synthetic_records.records()
    random.Random(1).shuffle(shuffled)
    frame = record_frame(shuffled)
    for paper in claims.paper_names():
        for name, content in paper_tables.render_tables(paper, frame, against=True).items():
            assert content == tables[name], name
    assert paper_tables.render_claims(paper_values.check_papers(frame)) == tables["claims.md"]


@pytest.mark.parametrize("paper", claims.paper_names())
def test_every_claim_stands_in_its_table_s_layout(paper: str) -> None:
    laid = {table.id: layouts.expand_table(table) for table in layouts.load_layouts(paper).table}
    places = {name: set(found.entries()) for name, found in laid.items() if found}
    for claim in claims.load_claims(paper):
        if claim.table in places:
            assert claim.entry in places[claim.table], claim
    in_none = {claim.table for claim in claims.load_claims(paper)} - places.keys()
    assert in_none <= {"page", "demo"}


@pytest.mark.parametrize("paper", claims.paper_names())
def test_every_row_of_a_layout_is_a_registered_method(paper: str) -> None:
    for table in layouts.load_layouts(paper).table:
        for section in table.section:
            for one in section.rows:
                assert {one.method, *one.methods.values()} - {""} <= set(methods.names())


def test_nothing_is_filled_from_a_claim() -> None:
    for paper in claims.paper_names():
        for name, content in paper_tables.render_tables(paper, record_frame([])).items():
            if name.endswith(".csv"):
                cells = [
                    line.split(",")[2:] for line in content.splitlines()[1:] if '"' not in line
                ]
                assert {cell for line in cells for cell in line} <= {"–", ""}, name


# What one place of a table measures


def full_row(**changed: float) -> list[Record]:
    return [record("spt_deep", MAE, VTAB, task) for task in VTAB.task]


def test_a_group_s_mean_is_over_its_tasks_in_the_column_that_the_paper_used() -> None:
    made = full_row()
    natural = [r.outcome for r in made if r.group == "Natural" and r.outcome]
    for column in ("accuracy", "best_epoch_accuracy"):
        found = PaperResults(largest_comparable(record_frame(made), "spt2024"), column).measured(
            NATURAL
        )
        assert found.values == [pytest.approx(sum(getattr(o, column) for o in natural) / 7)]
        assert (found.done, found.tasks) == (7, 7)


def test_an_incomplete_group_has_no_value_and_says_how_far_it_got() -> None:
    found = PaperResults(
        largest_comparable(record_frame(full_row()[1:]), "spt2024"), "accuracy"
    ).measured(NATURAL)
    assert (found.values, found.done, found.tasks) == ([], 6, 7)
    assert format_value(NATURAL, found) == "–"


def test_records_of_another_recipe_or_with_other_fields_do_not_fill_a_cell() -> None:
    cub = PaperEntry("spt_deep", "", MAE, "fgvc", "cub", "accuracy")
    task = FGVC.find("cub")
    others = [
        record("spt_deep", MAE, FGVC, task, recipe="unified"),
        record("spt_deep", MAE, FGVC, task, prompts=50),
    ]
    assert (
        PaperResults(largest_comparable(record_frame(others), "spt2024"), "accuracy")
        .measured(cub)
        .values
        == []
    )
    fifty = PaperEntry("spt_deep", "prompts=50", MAE, "fgvc", "cub", "accuracy")
    assert (
        len(
            PaperResults(largest_comparable(record_frame(others), "spt2024"), "accuracy")
            .measured(fifty)
            .values
        )
        == 1
    )


def test_what_is_not_possible_is_marked_so() -> None:
    place = PaperEntry("gatevpt", "", synthetic_records.SUP, "fgvc", "cub", "accuracy")
    assert (
        format_value(
            place,
            PaperResults(
                largest_comparable(record_frame(synthetic_records.records()), "spt2024"), "accuracy"
            ).measured(place),
        )
        == "n/a"
    )


def test_total_parameters_are_the_backbone_s_and_all_tasks_over_the_backbone_s() -> None:
    """VPT's Table 1 prints 1.02 for linear probing and 24.02 for full fine-tuning."""
    results = PaperResults(
        largest_comparable(record_frame(synthetic_records.records()), "vpt2022"), "accuracy"
    )
    for method, printed in (("linear", "1.02"), ("full", "24.02")):
        place = PaperEntry(
            method, "", synthetic_records.ORIGINAL, "fgvc+vtab1k", "all tasks", "total_params"
        )
        assert format_value(place, results.measured(place)) == printed


# Verdicts


def claim(value: str, provenance: str = "own", **changed: str) -> Claim:
    fields = {"method": "spt_deep", "fields": "", "backbone": MAE, "suite": "fgvc", "on": "cub"}
    place = PaperEntry(**{**fields, "metric": "accuracy", **changed})
    return Claim("spt2024", "table2", "SPT-Deep", place, value, "%", provenance, "")


def cub(*accuracies: float) -> list[Record]:
    """Records of CUB whose best epoch, which SPT's code reports, is as given."""
    from dataclasses import replace

    made = []
    for seed, accuracy in enumerate(accuracies):
        plain = record("spt_deep", MAE, FGVC, FGVC.find("cub"), seed)
        assert plain.outcome is not None
        outcome = replace(plain.outcome, accuracy=accuracy - 5, best_epoch_accuracy=accuracy)
        made.append(replace(plain, outcome=outcome))
    return made


@pytest.mark.parametrize(
    ("accuracies", "status"),
    [
        ((80.0, 80.2, 80.3), "verified"),
        ((84.0, 84.1, 84.2), "above"),
        ((70.0, 70.1, 70.2), "below"),
        ((80.9,), "verified"),  # 5,000 images: the interval is a point wide
        ((82.5,), "above"),
        ((), "not run"),
    ],
)
def test_a_claim_is_verified_within_the_margin(accuracies: tuple[float, ...], status: str) -> None:
    verdict = ClaimChecker(record_frame(cub(*accuracies))).check(claim("80.13"))
    assert verdict.status == status
    assert verdict.column == "best_epoch_accuracy"


def test_a_borrowed_row_is_compared_as_the_paper_that_ran_it_reports() -> None:
    assert (
        ClaimChecker(record_frame(cub(80.0))).check(claim("75.00", "vpt2022")).status == "not run"
    )  # its recipe
    verdict = ClaimChecker(record_frame(cub(80.0)), recipe="spt2024").check(
        claim("75.00", "vpt2022")
    )
    assert (verdict.status, verdict.column) == ("verified", "accuracy")


def test_an_incomplete_claim_counts_its_tasks() -> None:
    verdict = ClaimChecker(record_frame(full_row()[2:])).check(
        claim("80.00", suite="vtab1k", on="mean over tasks")
    )
    assert verdict.status == "incomplete (17/19)"


def test_the_page_has_the_sixteen_claims_of_the_paper_s_own() -> None:
    page = paper_tables.summary_table(
        paper_values.check_papers(record_frame([]), ["spt2024"])
    ).splitlines()
    heads = [head.strip() for head in page[0].strip("|").split("|")]
    assert heads == ["Dataset", "Model", "Metric", "Claimed", "Verified", "Status"]
    assert len(page) == 2 + 16
    assert all("not run" in line for line in page[2:])


# Bad input


HEAD = ",".join(claims.CSV_COLUMNS)
GOOD = f"t,l,vpt_deep,,{MAE},fgvc,cub,accuracy,80.1,%,own,"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (GOOD.replace("80.1", "high"), "line 2: 'high' is not a number"),
        (GOOD.replace("cub", "cup"), "no task, group or mean of suite 'fgvc' 'cup'"),
        (GOOD.replace("fgvc", "fgcv"), "no suite 'fgcv'; did you mean fgvc?"),
        (GOOD.replace(",accuracy,", ",precision,"), "no metric 'precision'"),
        (GOOD.replace(",,vit", ",share,vit"), "fields look like share=0.1"),
    ],
)
def test_a_claim_that_cannot_be_used_is_one_sentence(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "claims.csv"
    path.write_text(f"{HEAD}\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        claims.read_claims("p", path)
    assert said in str(caught.value)


def test_a_claim_of_an_unknown_method_names_near_ones() -> None:
    odd = claim("80.1", method="vtp_deep")
    with pytest.raises(UserError, match=r"no method 'vtp_deep'; did you mean vpt_deep"):
        claims.require_methods([odd], methods.names())


def test_a_layout_row_without_a_method_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "odd2024"
    folder.mkdir()
    (folder / "layouts.toml").write_text(
        '[paper]\ntitle="T"\nshort="T"\nurl="u"\nyear=2024\nrecipe="spt2024"\n'
        'column="accuracy"\nruns=3\n[[table]]\nid="t"\ntitle="t"\n'
        'columns=[{suite="fgvc", on="cub"}]\n[[table.section]]\nrows=[{label="Full"}]\n',
        encoding="utf-8",
    )
    monkeypatch.setattr(claims, "PAPERS_FOLDER", tmp_path)
    monkeypatch.setattr(layouts, "PAPERS_FOLDER", tmp_path)
    with pytest.raises(UserError, match="the row 'Full' should name a method"):
        layouts.load_layouts("odd2024")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["report", "--paper", "spt2042"], "did you mean spt2024"),
        (["report", "--paper", "spt2024", "--suite", "minni"], "did you mean mini?"),
        (["report", "--paper", "spt2024", "--suite", "mini", "--against"], "cannot be set against"),
        (["report", "--against"], "say how to fill a table of --paper"),
        (["claims", "--paper", "vpt"], "no paper 'vpt'"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(
    tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--results", str(tmp_path)]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


# The commands


@pytest.mark.long
def test_a_paper_s_tables_are_written_refreshed_and_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, row("vpt_deep", [60.0] * 5))
    words = ["--results", str(tmp_path)]
    assert main(["report", "--paper", "spt2024", "--suite", "mini", *words]) == 0
    table = tmp_path / "papers" / "spt2024" / "mini" / "table2.md"
    assert "in place of the paper's data" in table.read_text(encoding="utf-8")
    assert "60.00" in table.read_text(encoding="utf-8")
    assert main(["claims", *words]) == 0
    assert "908 claims" not in capsys.readouterr().out
    assert main(["verify", *words]) == 0
    table.write_text(table.read_text(encoding="utf-8").replace("60.00", "90.00"), encoding="utf-8")
    assert main(["verify", *words]) == 1
    assert f"{table} is not what the records give" in capsys.readouterr().err
    assert main(["report", *words]) == 0
    assert main(["verify", *words]) == 0


def test_the_page_has_claims_as_soon_as_the_folder_has_a_claims_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, row("vpt_deep", [60.0] * 5))
    words = ["--results", str(tmp_path)]
    page = tmp_path / "index.html"
    with monkeypatch.context() as patched:
        patched.setattr(paper_values, "check_papers", None)  # nothing is checked that is not shown
        assert main(["report", *words]) == 0
    assert 'id="claims"' not in page.read_text(encoding="utf-8")
    assert main(["claims", *words]) == 0
    assert 'id="claims"' in page.read_text(encoding="utf-8")
    assert main(["verify", *words]) == 0
