"""The page: leaderboard, cells, claims and pictures in one file that needs no server."""

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from bench.records import Record
from bench.report.leaderboard import Board
from bench.report.page import cells, standings
from bench.report.page.claims import table as claims_table
from bench.report.page.inline import inline
from bench.report.tables import EMPTY, MEANING

BUNDLE = "itables/html/dt_bundle.js"  # read, not imported: itables imports all of pandas
MANY = 2_000  # records, above which the page has none of them one by one: it would be slow to open
OPTIONS = {  # of DataTables, by the names that they have as attributes of a table
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
) -> str:
    """The page, the same bytes for the same records whatever their order.

    `claims` are rows of paper, dataset, model, metric, claimed, verified and status; `pictures`
    are SVG files by caption.
    """
    return _template().render(
        **_parts(boards, {record.cell: record for record in records}),
        claims=claims_table(claims),
        pictures=[_picture(i, *picture) for i, picture in enumerate(pictures.items())],
        many=MANY,
        empty=EMPTY,
        meaning=MEANING,
        options=OPTIONS,
        datatables=_datatables(),
    )


def _parts(boards: Sequence[Board], records: Mapping[str, Record]) -> dict[str, Any]:
    """What the page says of boards and records."""
    rows = standings.standings(boards)
    listed = cells.shown(list(records.values()), rows) if len(records) <= MANY else []
    return {
        "boards": len(boards),
        "count": len(records),
        "standings": standings.table(boards),
        "rows": (standings.panel(row, records, bool(listed)) for row in rows),
        "cells": cells.table(listed),
        "records": map(cells.panel, listed),
    }


def _picture(number: int, caption: str, svg: str) -> tuple[str, str, str]:
    """The name, the caption and the element of a picture."""
    name = f"picture-{number + 1}"
    return name, caption, inline(svg, name)


def _datatables() -> str:
    """The script that itables ships, as text that cannot end the element around it."""
    bundle = Path(str(distribution("itables").locate_file(BUNDLE)))
    return bundle.read_text("utf-8").replace("</script", r"<\/script")


def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")
