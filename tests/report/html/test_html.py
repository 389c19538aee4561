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
from support.page_data import data_of

NASTY = 'a|b<script>alert("1")</script>'
ESCAPED = escape(NASTY).replace("&quot;", "&#34;")


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


def lines(text: str, table: str) -> list[str]:
    """The lines of the table of that name."""
    return text.split(f'<table id="{table}"')[1].split("</tbody>")[0].split("<tr>")[2:]


def entries(text: str, label: str) -> dict[str, str]:
    """The entries of a row of the first board, by the names of their columns."""
    board = data_of(text)["boards"][0]
    names = [column[0] for column in board["columns"]]
    found = {line[1][0]: [cell[0] for cell in line] for line in board["lines"]}
    return dict(zip(names, found[label], strict=True))


def record_of(text: str, record: Record) -> tuple[list[Any], str]:
    """The line of a record in the page's data, and all that its lists say."""
    records = data_of(text)["records"]
    [line] = [line for line in records["lines"] if line[0] == record.cell]
    texts = records["texts"]
    lists = [records["lists"][number] for number in line[3]]
    said = [[records["heads"][head], *(texts[i] for i in values)] for head, *values in lists]
    return [*line[:2], [texts[i] for i in line[2]], *line[3:]], repr(said)


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
    assert not re.findall(r"""(?:fetch\(|src=|import\()["'](?:https?:)?//""", text)
    style = text.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_every_link_has_an_end_and_no_name_is_given_twice(text: str) -> None:
    tags = Tags(text)
    names = Counter(tags.every("id"))
    assert [name for name, times in names.items() if times > 1] == []
    links = [*tags.every("href"), *tags.every("xlink:href")]
    assert {link[1:] for link in links if link.startswith("#")} <= set(names)


def test_every_record_is_there_with_its_settings(text: str) -> None:
    assert len(data_of(text)["records"]["lines"]) == len(forty())
    for record in forty():
        assert record.settings.weights in record_of(text, record)[1]


def test_what_records_share_is_there_once(text: str) -> None:
    records = data_of(text)["records"]
    assert len({repr(one) for one in records["lists"]}) == len(records["lists"]) < 5 * len(forty())


def test_every_row_of_every_board_is_there_with_and_without_a_script(text: str) -> None:
    for number, board in enumerate(boards(forty())):
        labels = [row.label for row in (*board.rows, *board.incomplete)]
        assert [row["label"] for row in data_of(text)["boards"][number]["rows"]] == labels
        static = lines(text, f"board-{number + 1}")
        assert len(static) == len(labels)
        assert all(label in line for label, line in zip(labels, static, strict=True))


def test_a_complete_line_has_rank_means_and_spread() -> None:
    records = row("bias", [10, 20, 30, 40, 50]) + row("bias", [20, 30, 40, 50, 60], seed=1)
    text = render(records)
    [line] = lines(text, "board-1")
    assert 'data-order="2">1<' in line  # from rank 1 to rank 1
    assert 'data-order="35">35.00 <small>± 7.07</small>' in line
    found = entries(text, "bias")
    assert (found["mean Natural"], found["mean Structured"], found["tasks"]) == (
        *("20.00", "45.00"),
        "5/5",
    )


def test_an_incomplete_line_has_neither_rank_nor_mean_and_says_what_is_done() -> None:
    text = render(row("full", [60.0, 70.0, "failed"]))
    found = entries(text, "full")
    assert (found["rank"], found["mean"], found["tasks"]) == ("–", "–", "2/3")
    assert list(found.values()).count("failed") == 1
    orders = re.findall(
        'data-order="([^"]+)">(?:–|2/3|not tuned|failed)', lines(text, "board-1")[0]
    )
    assert orders == ["1e+09", "-1", "-1", "-1", "-1", "0", "0.66666667"]


@pytest.mark.parametrize("kind", ["failed", "unsupported"])
def test_a_cell_without_a_result_says_why(kind: str) -> None:
    failure = Failure(kind=kind, error="OddError", message="<why>", traceback="File <x>")
    record = replace(make("bias", "digits", accuracy=kind), failure=failure)
    text = render([record])
    line, said = record_of(text, record)
    assert line[2][6] == kind
    assert "OddError" in said
    assert "<why>" in said
    assert line[5] == "File <x>"
    [[_, _, [[seed, shown, cell]]]] = data_of(text)["boards"][0]["rows"][0]["tasks"]
    assert (seed, shown, cell) == (0, kind, record.cell)


def test_what_a_record_says_is_never_markup() -> None:
    records = row(NASTY, [60.0] * 5, fields={"init": NASTY}, backbone=NASTY, suite=NASTY)
    odd = [replace(record, environment={NASTY: NASTY}, remark=NASTY) for record in records]
    claims = [dict.fromkeys(CLAIM, NASTY)]
    text = html.render(boards(odd), odd, claims, {NASTY: SVG})
    assert "<script>alert" not in text
    assert ESCAPED in text
    assert data_of(text)["boards"][0]["rows"][0]["label"] == NASTY
    assert len(Tags(text).every("id")) == len(Tags(render(row("bias", [60.0] * 5))).every("id")) - 3


def test_what_cannot_be_seen_is_written_out_in_the_data() -> None:
    text = render(row("bias", [60.0] * 5, fields={"init": "a\u202eb\x1b"}))
    assert r"a\u202eb\x1b" in data_of(text)["records"]["texts"]


def test_what_others_have_stated_is_listed_by_itself_and_never_as_markup() -> None:
    theirs = [replace(r, evidence="stated") for r in row(NASTY, [99.0, 98.0], backbone="odd")]
    text = html.render(boards(forty()), forty(), [], {}, theirs)
    first, second = lines(text, "others")
    assert 'data-order="99">99.00' in first + second
    assert ESCAPED in first
    assert "<script>alert" not in text
    assert len(data_of(text)["records"]["lines"]) == len(forty())
    assert "Stated by others, not ranked" in text
    assert "Stated by others" not in render(forty())


def test_a_row_names_the_records_of_its_tasks() -> None:
    records = row("bias", [60.0] * 5) + row("lora", [70.0] * 5)
    [board] = data_of(render(records))["boards"]
    for found in board["rows"]:
        cells = {record.cell for record in records if record.settings.method == found["label"]}
        assert {seeds[0][2] for _, _, seeds in found["tasks"]} == cells


def test_above_many_records_the_single_ones_are_left_out(monkeypatch: Any) -> None:
    monkeypatch.setattr(html, "MAX_RECORDS", 4)
    text = render(row("bias", [60.0] * 5))
    assert "python -m bench show CELL" in text
    assert data_of(text)["records"]["lines"] == []
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
    assert rerun_command(record) in record_of(render([record]), record)[0]


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
