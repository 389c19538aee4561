"""The HTML page: leaderboard, cells, claims and figures in one file that needs no server."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from bench.records.schema import Record
from bench.report import known_page
from bench.report.boards import Board
from bench.report.html import cells, leaderboard
from bench.report.html.table import claims_table, known_table, stated_table
from bench.report.leaderboard import EXPLANATION, NO_RECORDS
from bench.report.stated import EXPLANATION as EXPLANATION_OF_STATED
from bench.report.stated import HEADING, stated_rows
from bench.utils.escaping import for_html

NOT_THE_ELEMENT = re.compile(r"<\?.*?\?>|<!DOCTYPE[^>\[]*(?:\[.*?\])?[^>]*>|<!--.*?-->", re.DOTALL)
INVISIBLE_ELEMENTS = re.compile(r"<(metadata|script)\b.*?</\1\s*>", re.DOTALL)
ID_REFERENCES = re.compile(r"""(\s(?:xml:)?id=["']|href=["']#|url\(["']?#|\saria-\w+by=["'])""")
STYLE_ELEMENT = re.compile(
    r"<style\b[^>]*>(?:\s*<!\[CDATA\[)?(.*?)(?:\]\]>\s*)?</style>", re.DOTALL
)


def inline_svg(svg: str, name: str) -> str:
    """Return the element of an SVG file, its ids and its style sheets kept to itself by `name`."""
    element = INVISIBLE_ELEMENTS.sub("", NOT_THE_ELEMENT.sub("", svg)).strip()
    element = ID_REFERENCES.sub(rf"\g<1>{name}-", element)
    return STYLE_ELEMENT.sub(rf"<style>#{name}{{\g<1>}}</style>", element)


DATATABLES_BUNDLE = "itables/html/dt_bundle.js"  # read, not imported: itables imports all of pandas
MAX_RECORDS = 2_000  # with more, the page shows none one by one: it would be slow to open
DATATABLES_OPTIONS = {  # of DataTables, by the names that they have as attributes of a table
    "order": [],
    "auto-width": False,
    "page-length": 50,
    "length-menu": [25, 50, 100, {"label": "all", "value": -1}],
    "layout": {
        "topStart": "search",
        "topEnd": "info",
        "bottomStart": "pageLength",
        "bottomEnd": "paging",
    },
    "language": {
        "info": "_START_–_END_ of _TOTAL_ lines",
        "infoFiltered": "",
        "infoEmpty": "no line",
        "lengthMenu": "_MENU_ lines a page",
    },
}


def render(
    boards: Sequence[Board],
    records: Iterable[Record],
    claims: Sequence[Mapping[str, str]],
    pictures: Mapping[str, str],
    stated: Iterable[Record] = (),
    known: Sequence[Mapping[str, str]] = (),
) -> str:
    """Return the page: the same bytes for the same records in any order.

    `claims` are rows of paper, dataset, model, metric, claimed, verified and status; `pictures`
    are SVG files by caption; records that others have `stated` are listed by themselves; `known`
    are rows of `known_page`.
    """
    return _load_template().render(
        **_template_variables(boards, {record.cell: record for record in records}),
        claims=claims_table(claims),
        stated=stated_table(stated_rows(stated)),
        stated_heading=HEADING,
        stated_meaning=EXPLANATION_OF_STATED.replace("`", ""),
        known=known_table(known),
        known_heading=known_page.HEADING,
        known_meaning=known_page.EXPLANATION,
        known_marks=known_page.legend(known),
        pictures=[_inline_picture(i, *picture) for i, picture in enumerate(pictures.items())],
        many=MAX_RECORDS,
        empty=NO_RECORDS,
        meaning=EXPLANATION,
        options=DATATABLES_OPTIONS,
        datatables=_datatables_script(),
    )


def _template_variables(boards: Sequence[Board], records: Mapping[str, Record]) -> dict[str, Any]:
    """Return the template's variables for boards and records."""
    rows = leaderboard.leaderboard_rows(boards)
    listed = cells.page_records(list(records.values()), rows) if len(records) <= MAX_RECORDS else []
    return {
        "boards": len(boards),
        "count": len(records),
        "standings": leaderboard.leaderboard_table(boards),
        "rows": (leaderboard.row_panel(row, records, bool(listed)) for row in rows),
        "cells": cells.records_table(listed),
        "records": map(cells.record_panel, listed),
    }


def _inline_picture(number: int, caption: str, svg: str) -> tuple[str, str, str]:
    """Return the name, the caption and the element of a picture."""
    name = f"picture-{number + 1}"
    return name, caption, inline_svg(svg, name)


def _datatables_script() -> str:
    """Return the script that itables ships, as text that cannot end the element around it."""
    bundle = Path(str(distribution("itables").locate_file(DATATABLES_BUNDLE)))
    return bundle.read_text("utf-8").replace("</script", r"<\/script")


def _escape(value: Any) -> Any:
    """Return what the template prints, escaped unless it is a piece of the template's own."""
    return _markup(value) if type(value) is str else value


@lru_cache(2**14)  # most texts stand in many places
def _markup(text: str) -> Markup:
    return Markup(for_html(text))


def _load_template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")


__all__ = ["render"]
