"""The page in a real browser, whatever is shown: access, widths, themes, and no script."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from bench.report import html
from support.browser import expect
from support.made_up_records import boards, row

BOARD = "#board=mini v1, vit_mini_mae, quick v1"
VIEWS = {
    "board": BOARD,
    "method": f"{BOARD}&method=lora",
    "comparison": f"{BOARD}&compare=lora&with=linear",
    "records": "#cells",
    "claims": "#claims",
    "pictures": "#pictures",
}
WIDTHS = (360, 1600)


def open_view(visit: Any, view: str, **options: Any) -> Any:
    """Open a view; that of a record by way of the first line of the records."""
    if view != "record":
        return visit(VIEWS[view], **options)
    tab = visit(VIEWS["records"], **options)
    tab.locator("#cells tbody a").first.click()
    tab.locator("#record").wait_for()
    return tab


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", [*VIEWS, "record"])
def test_axe_finds_nothing_serious(visit: Any, view: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    tab = open_view(visit, view, color_scheme=scheme)
    for closed in tab.locator("details:visible").all():
        closed.evaluate("details => { details.open = true }")
    found = axe.run(tab).response["violations"]
    grave = {
        one["id"]: [node["html"] for node in one["nodes"]]
        for one in found
        if one["impact"] in ("serious", "critical") or one["id"] == "heading-order"
    }
    assert grave == {}


def test_axe_would_find_something(visit: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    tab = visit(BOARD)
    tab.evaluate("document.querySelector('main').append(document.createElement('input'))")
    assert "label" in {one["id"] for one in axe.run(tab).response["violations"]}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("view", [*VIEWS, "record"])
def test_the_page_never_scrolls_sideways(visit: Any, view: str, width: int) -> None:
    tab = open_view(visit, view, viewport={"width": width, "height": 800})
    wide = "[document.documentElement.scrollWidth, document.body.scrollWidth]"
    assert tab.evaluate(wide) == [width, width]


def test_what_a_record_says_is_shown_as_text_in_every_view(visit: Any, tmp_path: Path) -> None:
    nasty = '<img src=x onerror="document.title=1"><b>&amp;'
    records = row(nasty, [60.0] * 5, suite=nasty, fields={"init": nasty})
    records += row("bias", [50.0] * 5, suite=nasty)
    page = tmp_path / "index.html"
    page.write_text(html.render(boards(records), records, [], {}), encoding="utf-8")
    pair = "#" + urlencode({"compare": nasty, "with": "bias"})
    anchors = ["", "#" + urlencode({"method": nasty}), pair, "#cells"]
    for anchor in [*anchors, f"#record={records[0].cell}"]:
        tab = visit(anchor, page=page.as_uri())
        assert nasty in tab.locator("main > section:visible").inner_text()
        assert tab.locator("main img, main b").count() == 0


def test_names_of_any_length_stay_on_a_narrow_page(visit: Any) -> None:
    tab = visit(
        f"#board=mini v1, {'b' * 90}, quick v1&method=long", viewport={"width": 360, "height": 800}
    )
    assert "x" * 200 in tab.locator("#method dd").all_inner_texts()[-1]
    assert tab.evaluate("document.documentElement.scrollWidth") == 360


def test_a_narrow_board_has_rank_method_and_mean_in_sight(visit: Any) -> None:
    tab = visit(BOARD, viewport={"width": 360, "height": 800})
    shown = tab.locator("#leaderboard thead th .dt-column-title")
    assert shown.all_inner_texts()[1:5] == ["rank", "method", "mean", "mean Natural"]
    box = shown.nth(3).bounding_box()
    assert box["x"] + box["width"] <= 360


def test_all_that_can_be_used_is_reached_by_tab_and_the_focus_is_seen(visit: Any) -> None:
    tab = visit(BOARD)
    place = "document.activeElement.closest('select, summary, input, th, td, nav, svg')?.tagName"
    outline = (
        "(style => style.outlineStyle !== 'none' || document.activeElement.closest('svg'))"
        "(getComputedStyle(document.activeElement))"
    )
    reached = set()
    for _ in range(60):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement === document.body"):
            break  # the end of the page
        reached.add(tab.evaluate(place))
        assert tab.evaluate(outline)
    assert {"SELECT", "SUMMARY", "INPUT", "TH", "TD", "NAV", "svg"} <= reached


def test_a_link_leads_the_focus_to_the_view_and_back_to_the_link(visit: Any) -> None:
    tab = visit(BOARD)
    link = tab.locator("#leaderboard tbody").get_by_text("lora", exact=True)
    link.focus()
    tab.keyboard.press("Enter")
    expect(tab.locator("#method h2")).to_be_focused()
    expect(tab).to_have_title(re.compile("^lora – "))
    tab.get_by_role("link", name="← The board").click()
    expect(link).to_be_focused()


def test_without_a_script_every_number_is_there(visit: Any) -> None:
    tab = visit(java_script_enabled=False)
    for board in ("#board-1", "#board-2"):
        assert tab.locator(f"{board} tbody tr").last.is_visible()
    assert "± " in tab.locator("#leaderboard").inner_text()
    assert "Wilcoxon" in tab.locator("#leaderboard").inner_text()
    assert tab.locator("#papers tbody tr").last.is_visible()
    assert tab.locator("#pictures svg").last.count() == 1
    assert tab.locator(".menus:visible, #method:visible, #record:visible").count() == 0


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_the_page_is_as_dark_as_the_reader_wants(visit: Any, scheme: str, dark: bool) -> None:
    tab = visit(color_scheme=scheme)
    ground, ink = (
        tab.evaluate(f"getComputedStyle(document.body).{name}")
        for name in ("backgroundColor", "color")
    )
    assert (brightness(ground) < 64) == dark
    assert (brightness(ink) > 192) == dark


def brightness(colour: str) -> float:
    red, green, blue = map(int, re.findall(r"\d+", colour)[:3])
    return (red + green + blue) / 3
