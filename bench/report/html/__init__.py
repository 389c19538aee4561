"""The HTML page: boards, methods, records, claims and figures in one file that needs no server."""

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
from bench.report.html.data import page_data
from bench.report.html.leaderboard import board_table, notes_on, told_apart
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


# of installed packages, read and not imported: itables imports all of pandas
DATATABLES = "itables", "itables/html/dt_bundle.js"
D3 = "mpld3", "mpld3/js/d3.v5.min.js"
MAX_RECORDS = 5_000  # with more, the page shows none one by one: it would be slow to open
STYLES = ("base", "tables", "views", "charts")
SCRIPTS = (  # joined into one module in this order
    *("dom", "address", "data", "tables", "charts"),
    *("board", "method", "comparison", "records", "main"),
)
FOLDER = Path(__file__).parent


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
    by_cell = {record.cell: record for record in records}
    listed = len(by_cell) <= MAX_RECORDS
    return _load_template().render(
        boards=[_static_board(i, board) for i, board in enumerate(boards)],
        count=len(by_cell),
        listed=listed and bool(by_cell),
        data=page_data(boards, by_cell, listed),
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
        style=_joined("style", STYLES, "css"),
        script=_joined("script", SCRIPTS, "js"),
        datatables=_bundle(*DATATABLES),
        d3=_bundle(*D3),
    )


def _static_board(number: int, board: Board) -> dict[str, Any]:
    """Return a board as it is shown without a script."""
    return {
        "title": board.name,
        "told": told_apart(board),
        "notes": notes_on(board),
        "table": board_table(board, f"board-{number + 1}"),
    }


def _inline_picture(number: int, caption: str, svg: str) -> tuple[str, str, str]:
    """Return the name, the caption and the element of a picture."""
    name = f"picture-{number + 1}"
    return name, caption, inline_svg(svg, name)


def _bundle(package: str, path: str) -> str:
    """Return a script that a package ships, as text that cannot end the element around it."""
    bundle = Path(str(distribution(package).locate_file(path)))
    return bundle.read_text("utf-8").replace("</script", r"<\/script")


def _joined(folder: str, names: Sequence[str], ending: str) -> str:
    files = [FOLDER / folder / f"{name}.{ending}" for name in names]
    return "\n".join(file.read_text("utf-8") for file in files)


def _escape(value: Any) -> Any:
    """Return what the template prints, escaped unless it is a piece of the template's own."""
    return _markup(value) if type(value) is str else value


@lru_cache(2**14)  # most texts stand in many places
def _markup(text: str) -> Markup:
    return Markup(for_html(text))


def _load_template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        finalize=_escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")


__all__ = ["render"]
