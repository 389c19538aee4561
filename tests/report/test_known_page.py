"""The page of known results: the best first, caveats as marks, our own rows beside them."""

from typing import Any

import pytest

from bench.papers.known import load_known
from bench.report import html, known_page
from bench.report.boards import Board, build_boards
from bench.report.frame import record_frame
from bench.report.known_page import MARKS, known_rows, legend, render_known
from support.made_up_records import make

Row = dict[str, str]
MOCO = "vit_base_patch16_224.mocov3"
VTAB_TASKS = {"cifar100": "Natural", "eurosat": "Specialized", "dmlab": "Structured"}


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return known_rows(load_known(), [])


def found(rows: list[Row], method: str, weights: str, suite: str = "VTAB-1k", **more: str) -> Row:
    """The only row with these texts."""
    wanted = {"method": method, "weights": weights, "suite": suite, **more}
    (row,) = [row for row in rows if wanted.items() <= row.items()]
    return row


def own_boards(method: str, **changed: Any) -> list[Board]:
    """The boards of one method on three tasks named as VTAB-1k's, 60.00 on each."""
    place: dict[str, Any] = {"suite": "vtab1k", "backbone": MOCO, **changed}
    return build_boards(record_frame([make(method, t, 0, 60.0, **place) for t in VTAB_TASKS]), {})


def test_the_best_mean_over_groups_of_a_section_comes_first(rows: list[Row]) -> None:
    moco = [row for row in rows if (row["suite"], row["weights"]) == ("VTAB-1k", "mocov3")]
    means = [float(row["over groups"]) for row in moco]
    assert moco[0]["method"] == "SNELL-8"
    assert means == sorted(means, reverse=True)


def test_a_row_without_a_mean_over_groups_is_not_ranked_by_its_other_mean(rows: list[Row]) -> None:
    here = [row for row in rows if _section(row) == ("VTAB-1k", "vit_base_patch16_224", "in21k")]
    lacking = [row["over groups"] == "–" for row in here]
    assert lacking == sorted(lacking)
    assert any(lacking)


def _section(row: Row) -> tuple[str, str, str]:
    pretraining = "in21k" if row["weights"].endswith("in21k") else row["weights"]
    return row["suite"], row["backbone"], pretraining


def test_the_weights_of_one_pretraining_share_a_table_and_others_do_not(rows: list[Row]) -> None:
    titles = [line for line in render_known(rows).splitlines() if line.startswith("## ")]
    assert titles[0] == "## VTAB-1k, vit_base_patch16_224, in21k"
    assert len(titles) == len(set(titles)) == len({_section(row) for row in rows})


def test_caveats_are_marks(rows: list[Row]) -> None:
    cvpt = found(rows, "CVPT", "in21k")
    assert cvpt["marks"].split() == ["E", "T", "S", "1", "?", "N"]
    plain = found(rows, "Adapter+ (r=8)", "orig_in21k")
    assert plain["marks"] == "R"
    diverged = found(rows, "LoRA-8", "mocov3")
    assert diverged["marks"] == "B"
    assert "divergence" in diverged["remark"]


def test_a_contradiction_is_a_mark_with_its_remark(rows: list[Row]) -> None:
    gate = found(rows, "GateVPT", "mae")
    assert "!" in gate["marks"].split()
    assert gate["remark"] == "DA-VPT prints 53.09 for this row"
    assert gate["over groups"] == "53.76"


def test_every_mark_in_the_table_is_in_the_legend(rows: list[Row]) -> None:
    used = {mark for row in rows for mark in row["marks"].split()} - {"–"}
    assert used <= set(dict(legend(rows)))
    assert legend([found(rows, "CVPT", "in21k")]) == [
        (mark, MARKS[mark][0]) for mark in ("E", "T", "S", "1", "?", "N")
    ]


def test_our_own_row_stands_beside_the_same_method_suite_and_weights() -> None:
    rows = known_rows(load_known(), own_boards("vpt_deep"))
    assert found(rows, "VPT-deep", "mocov3")["here"] == "60.00 / 60.00 (quick v1)"
    assert [row["here"] != "–" for row in rows].count(True) == 1


@pytest.mark.parametrize(
    "changed",
    [{"backbone": "vit_mini_mae"}, {"suite": "mini"}, {"backbone": "vit_base_patch16_224.dino"}],
)
def test_a_row_of_another_suite_or_backbone_is_not_beside_it(changed: dict[str, str]) -> None:
    rows = known_rows(load_known(), own_boards("vpt_deep", **changed))
    assert {row["here"] for row in rows} == {"–"}


def test_the_html_page_has_a_line_a_row_and_the_legend(rows: list[Row]) -> None:
    text = html.render([], [], [], {}, (), rows)
    section = text.split('<section id="known">')[1].split("</section>")[0]
    assert section.count("<tr>") == len(rows) + 1
    assert all(f"<strong>{mark}</strong>" in section for mark, _ in legend(rows))
    assert 'href="https://arxiv.org/abs/2203.12119"' in section
    assert f'<a href="#known">{known_page.HEADING}</a>' in text


def test_the_html_page_has_no_section_without_known_results() -> None:
    assert 'id="known"' not in html.render([], [], [], {})
