"""The HTML page: the records' values, in one self-contained file."""

import random
import re
import shlex
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from typing import Any

import pytest

from bench.cli import options
from bench.cli.parsing import Parser
from bench.records.schema import Failure, Record
from bench.report import html
from bench.report.html import inline_svg
from bench.report.record_diff import rerun_command
from support import paths
from support.made_up_page import CLAIM, PICTURES, REQUEST, SVG
from support.made_up_records import boards, forty, make, row

NASTY = 'a|b<script>alert("1")</script>'


class Tags(HTMLParser):
    """The elements of a page with their attributes, and what is written outside of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def every(self, name: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.found if name in attrs]


def render(records: list[Record]) -> str:
    return html.render(boards(records), records, [CLAIM], PICTURES)


def panel(text: str, anchor: str) -> str:
    """The section with that id."""
    found = re.search(f'<section class="panel" id="{anchor}">.*?</section>', text, re.DOTALL)
    assert found
    return found[0]


def lines(text: str, table: str) -> list[str]:
    """The lines of the table of that name."""
    return text.split(f'<table id="{table}"')[1].split("</tbody>")[0].split("<tr>")[2:]


@pytest.fixture(scope="module")
def text() -> str:
    return render(forty())


def test_the_order_of_the_records_changes_nothing(text: str) -> None:
    records = forty()
    random.Random(0).shuffle(records)
    assert render(records) == text


def test_another_process_makes_the_same_bytes_without_torch_or_pandas(text: str) -> None:
    code = (
        "from bench.report import html; from support.made_up_page import CLAIM, PICTURES;"
        "from support.made_up_records import boards, forty;"
        "heavy = {'torch', 'timm', 'pandas', 'IPython', 'matplotlib'} & set(sys.modules);"
        "records = forty(); made = html.render(boards(records), records, [CLAIM], PICTURES);"
        "assert not heavy, heavy; sys.stdout.buffer.write(made.encode())"
    )
    folders = [str(paths.REPO_ROOT / "tests"), str(paths.REPO_ROOT)]
    start = f"import sys; sys.path[:0] = {folders};"
    run = subprocess.run([sys.executable, "-c", start + code], check=True, capture_output=True)
    assert run.stdout.decode() == text


def test_nothing_is_loaded_from_elsewhere(text: str) -> None:
    tags = Tags(text)
    assert not tags.every("src")
    links = {link for link in tags.every("href") if not link.startswith(("#", "data:"))}
    assert links == {"https://arxiv.org/abs/2203.12119"}
    style = text.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_every_link_has_an_end_and_no_name_is_given_twice(text: str) -> None:
    tags = Tags(text)
    names = Counter(tags.every("id"))
    assert [name for name, times in names.items() if times > 1] == []
    links = [*tags.every("href"), *tags.every("xlink:href")]
    assert {link[1:] for link in links if link.startswith("#")} <= set(names)


def test_every_record_has_a_line_and_a_panel(text: str) -> None:
    assert len(lines(text, "records")) == len(forty())
    for record in forty():
        assert record.settings.weights in panel(text, f"cell-{record.cell}")


def test_every_row_has_a_line_a_group_and_one_over_all_tasks(text: str) -> None:
    mae, sup = boards(forty())
    rows = [len(board.rows) + len(board.incomplete) for board in (mae, sup)]
    expected = sum(n * (1 + len(b.groups)) for n, b in zip(rows, (mae, sup), strict=True))
    assert len(lines(text, "standings")) == expected


def test_a_complete_line_has_rank_mean_and_spread() -> None:
    records = row("bias", [10, 20, 30, 40, 50]) + row("bias", [20, 30, 40, 50, 60], seed=1)
    overall, natural, structured = lines(render(records), "standings")
    assert ">all tasks<" in overall
    assert 'data-order="2">1<' in overall  # from rank 1 to rank 1
    assert 'data-order="35">35.00 <small>± 7.07</small>' in overall
    assert ">Natural<" in natural
    assert ">20.00 " in natural
    assert ">2/2" in natural
    assert ">45.00 " in structured


def test_an_incomplete_line_has_neither_rank_nor_accuracy_and_says_what_is_done() -> None:
    overall = lines(render(row("full", [60.0, 70.0, "failed"])), "standings")[0]
    assert re.findall('data-order="[^"]+">(?:–|2/3|not tuned)', overall) == [
        'data-order="1e+09">–',
        *['data-order="-1">–'] * 3,  # two costs that nobody measured, and the accuracy
        'data-order="0">not tuned',
        'data-order="0.66666667">2/3',
    ]


@pytest.mark.parametrize("kind", ["failed", "unsupported"])
def test_a_cell_without_a_result_says_why(kind: str) -> None:
    failure = Failure(kind=kind, error="OddError", message="<why>", traceback="File <x>")
    record = replace(make("bias", "digits", accuracy=kind), failure=failure)
    text = render([record])
    assert f'class="{kind}">{kind}' in lines(text, "records")[0]
    shown = panel(text, f"cell-{record.cell}")
    assert all(said in shown for said in ("OddError", "&lt;why&gt;", "<pre>File &lt;x&gt;</pre>"))
    [row_of_it] = set(re.findall("#(row-[0-9a-f]+)", text))
    assert f'<a href="#cell-{record.cell}">{kind}</a>' in panel(text, row_of_it)


def test_what_a_record_says_is_never_markup() -> None:
    records = row(NASTY, [60.0] * 5, fields={"init": NASTY}, backbone=NASTY, suite=NASTY)
    odd = [replace(record, environment={NASTY: NASTY}, remark=NASTY) for record in records]
    claims = [dict.fromkeys(CLAIM, NASTY)]
    text = html.render(boards(odd), odd, claims, {NASTY: SVG})
    assert "<script>alert" not in text
    assert escape(NASTY).replace("&quot;", "&#34;") in text
    assert len(Tags(text).every("id")) == len(Tags(render(row("bias", [60.0] * 5))).every("id")) - 3


def test_what_others_have_stated_is_listed_by_itself_and_never_as_markup() -> None:
    theirs = [replace(r, evidence="stated") for r in row(NASTY, [99.0, 98.0], backbone="odd")]
    text = html.render(boards(forty()), forty(), [], {}, theirs)
    first, second = lines(text, "others")
    assert 'data-order="99">99.00' in first + second
    assert escape(NASTY).replace("&quot;", "&#34;") in first
    assert "<script>alert" not in text
    assert len(lines(text, "records")) == len(forty())
    assert "Stated by others, not ranked" in text
    assert "Stated by others" not in render(forty())


def test_a_row_leads_to_its_cells_and_a_cell_to_its_row() -> None:
    records = row("bias", [60.0] * 5) + row("lora", [70.0] * 5)
    text = render(records)
    [anchor] = set(re.findall('href="#(row-[0-9a-f]+)">bias<', text))
    cells = {f"cell-{record.cell}" for record in records if record.settings.method == "bias"}
    assert set(re.findall("#(cell-[0-9a-f]+)", panel(text, anchor))) == cells
    assert all(f"#{anchor}" in panel(text, cell) for cell in cells)


def test_above_many_records_the_single_ones_are_left_out(monkeypatch: Any) -> None:
    monkeypatch.setattr(html, "MAX_RECORDS", 4)
    text = render(row("bias", [60.0] * 5))
    assert "python -m bench show CELL" in text
    assert "cell-" not in "".join(Tags(text).every("id"))
    assert "60.00" in text


def test_without_records_there_is_a_sentence_and_no_table() -> None:
    text = html.render([], [], [], {})
    assert text.count("There is no record yet") == 2
    assert not [tag for tag, _ in Tags(text).found if tag in ("table", "figure")]


def test_figures_keep_their_ids_and_their_style_to_themselves() -> None:
    element = inline_svg(SVG, "mine")
    assert element.startswith("<svg")
    assert "purl.org" not in element
    assert 'id="mine-p"' in element
    assert 'xlink:href="#mine-p"' in element
    assert "url(#mine-c)" in element
    assert "<style>#mine{*{fill: red}}</style>" in element


def test_a_claim_links_its_paper_and_sorts_by_number(text: str) -> None:
    [line] = lines(text, "papers")
    assert '<a href="https://arxiv.org/abs/2203.12119">2203.12119</a>' in line
    assert 'data-order="71.2">71.20 ± 0.41' in line


def test_the_command_names_the_cell() -> None:
    record = replace(make("bias", "digits", seed=3), request=REQUEST)
    command = "python -m bench run --suite mini --methods bias --backbones vit_mini_mae"
    assert rerun_command(record) == f"{command} --tasks digits --seeds 3 --results again"
    assert f"<pre>{rerun_command(record)}</pre>" in render([record])


def test_a_record_that_does_not_say_its_request_has_no_command() -> None:
    assert rerun_command(make("bias", "digits")) == ""


CHANGES = {
    "epochs": 3,
    "lr": 1e-08,
    "flag": True,
    "bare": "mean_pool",
    "number": "3",
    "truth": "true",
    "spaced": "two words'",
    "quoted": '"a"',
    "list": [1, "b"],
    "view": {"train": "squash", "size": [224, 0.5]},
}


def test_the_command_is_read_back_as_it_was_asked() -> None:
    request = {**REQUEST, "recipe": "my recipe.toml", "changes": CHANGES}
    words = shlex.split(rerun_command(replace(make("bias", "digits"), request=request)))
    assert words[:4] == ["python", "-m", "bench", "run"]
    parser = Parser()
    options.add_selection(parser)
    options.add_results(parser)
    asked = parser.parse_args(words[4:])
    assert dict(asked.changes) == CHANGES
    assert asked.recipe == "my recipe.toml"
    assert (asked.methods, asked.tasks, asked.seeds) == (["bias"], ["digits"], [3])
