"""The HTML page in a real browser: clicks, typing and the resulting view."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from bench.report import html
from support.made_up_page import CLAIM, PICTURES, REQUEST
from support.made_up_records import boards, forty, row

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
WIDTHS = (360, 1600)
METHOD, ACCURACY = 5, 9  # columns of the leaderboard
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"needs one of the browsers {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a page with several suites, backbones, recipes and groups."""
    other = {"name": "unified", "version": 1, "batch": 64, "epochs": 100}
    records = forty() + row("bias", [51.0] * 5, recipe=other) + row("bias", [9.5] * 2, suite="own")
    records += row("long", [60.0] * 5, fields={"init": "x" * 200}, backbone="b" * 90)
    records = [replace(record, request=REQUEST) for record in records]
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(html.render(boards(records), records, [CLAIM], PICTURES), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Open]:
    """Opens the page; afterwards, nothing may have been complained of or asked of a network."""
    contexts, complaints = [], []

    def visit(anchor: str = "", **options: Any) -> Any:
        contexts.append(context := browser.new_context(**options))
        tab = context.new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("requestfailed", lambda request: complaints.append(request.url))
        tab.on("request", lambda request: complaints.extend(re.findall("^https?:.*", request.url)))
        tab.goto(address + anchor)
        if options.get("java_script_enabled", True):
            tab.locator("#papers_wrapper").wait_for()
        return tab

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []


def column(tab: Any, number: int, table: str = "standings") -> list[str]:
    """The text of a column, from top to bottom."""
    return tab.locator(f"#{table} tbody tr td:nth-child({number + 1})").all_inner_texts()


def numbers(texts: list[str]) -> list[float]:
    return [float(text.split()[0]) for text in texts if not text.startswith("–")]


def header(tab: Any, name: str) -> Any:
    return tab.locator("#standings thead th", has_text=name)


def await_order(tab: Any, name: str, order: str) -> None:
    """DataTables sorts a moment after it is asked to."""
    tab.locator(f"#standings thead th[aria-sort={order}]", has_text=name).wait_for()


def test_at_first_the_leaderboard_shows_the_means_over_all_tasks_best_first(visit: Open) -> None:
    tab = visit()
    assert set(column(tab, 3)) == {"all tasks"}
    mae = numbers(column(tab, ACCURACY))[:4]
    assert mae == sorted(mae, reverse=True)


def test_a_click_sorts_numbers_as_numbers(visit: Open) -> None:
    tab = visit()
    header(tab, "accuracy").click()
    await_order(tab, "accuracy", "ascending")
    rising = numbers(column(tab, ACCURACY))
    assert rising == sorted(rising)
    assert min(rising) == 9.5
    header(tab, "accuracy").click()
    await_order(tab, "accuracy", "descending")
    assert numbers(column(tab, ACCURACY)) == rising[::-1]
    assert column(tab, ACCURACY)[-1].startswith("–")


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_key_sorts(visit: Open, key: str) -> None:
    tab = visit()
    header(tab, "method").locator("[tabindex='0']").focus()
    tab.keyboard.press(key)
    await_order(tab, "method", "ascending")
    names = column(tab, METHOD)
    assert names == sorted(names)


def test_headers_menus_and_links_are_reached_by_tab_and_the_focus_is_seen(visit: Open) -> None:
    tab = visit()
    place = "document.activeElement.closest('select, input, th, td, nav').tagName"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    reached = set()
    for _ in range(30):
        tab.keyboard.press("Tab")
        reached.add(tab.evaluate(place))
        assert tab.evaluate(outline) != "none"
    assert reached == {"SELECT", "INPUT", "TH", "TD", "NAV"}


@pytest.mark.parametrize(
    ("label", "number", "choice"),
    [
        ("suite", 0, "own v1"),
        ("backbone", 1, "vit_mini_sup"),
        ("recipe", 2, "unified v1"),
        ("group", 3, "Structured"),
    ],
)
def test_a_menu_filters(visit: Open, label: str, number: int, choice: str) -> None:
    tab = visit()
    menu = tab.locator("#leaderboard .menus").get_by_label(label)
    menu.select_option(choice)
    assert set(column(tab, number)) == {choice}
    menu.select_option("all")
    assert len(set(column(tab, number))) > 1


def test_menus_filter_together(visit: Open) -> None:
    tab = visit()
    menus = tab.locator("#records_wrapper").locator("xpath=ancestor::section").locator(".menus")
    menus.get_by_label("task").select_option("digits")
    menus.get_by_label("status").select_option("failed")
    assert column(tab, 4, "records") == ["full"]


def test_words_filter(visit: Open) -> None:
    tab = visit()
    tab.locator("#leaderboard input[type=search]").fill("lora")
    assert column(tab, METHOD) == ["lora"]


def test_claims_are_filtered_by_status_and_paper(visit: Open) -> None:
    tab = visit()
    for label in ("paper", "status"):
        assert tab.locator("#claims .menus").get_by_label(label).locator("option").count() == 2


def test_a_cell_opens_by_a_key_and_closes_by_escape(visit: Open) -> None:
    tab = visit()
    link = tab.locator("#records tbody a").first
    link.focus()
    tab.keyboard.press("Enter")
    record = tab.locator(".panel:target")
    assert record.is_visible()
    assert "--methods bias" in record.inner_text()
    tab.keyboard.press("Escape")
    assert tab.locator(".panel:visible").count() == 0
    assert link.evaluate("link => link === document.activeElement")


def test_a_cell_closes_by_its_link_and_by_a_click_beside_it(visit: Open) -> None:
    tab = visit(viewport={"width": 1600, "height": 900})
    ways = [lambda: tab.locator(".panel:target .close").click(), lambda: tab.mouse.click(20, 300)]
    for close in ways:
        tab.locator("#records tbody a").first.click()
        assert tab.locator(".panel:target").is_visible()
        close()
        assert tab.locator(".panel:visible").count() == 0


def test_a_row_opens_its_cells(visit: Open) -> None:
    tab = visit()
    tab.locator("#standings tbody").get_by_text("linear", exact=True).click()
    tab.locator(".panel:target td a").first.click()
    assert "linear on digits, seed 0" in tab.locator(".panel:target h2").inner_text()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_never_scrolls_sideways(visit: Open, width: int) -> None:
    tab = visit(viewport={"width": width, "height": 800})
    wide = "[document.documentElement.scrollWidth, document.body.scrollWidth]"
    assert tab.evaluate(wide) == [width, width]
    tab.locator("#records tbody a").first.click()
    assert tab.evaluate(wide) == [width, width]
    inside = tab.locator(".panel:target > div")
    assert inside.evaluate("panel => panel.scrollWidth <= panel.clientWidth")


def test_without_a_script_all_is_there(visit: Open, address: str) -> None:
    tab = visit(java_script_enabled=False)
    assert tab.locator("#standings tbody tr").last.is_visible()
    assert tab.locator("#records tbody tr").last.is_visible()
    assert not tab.locator(".menus").first.is_visible()
    tab.locator("#records tbody a").first.click()
    assert "Run it again" in tab.locator(".panel:target").inner_text()
    tab.locator(".panel:target .close").click()
    assert tab.locator(".panel:visible").count() == 0


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_the_page_is_as_dark_as_the_reader_wants(visit: Open, scheme: str, dark: bool) -> None:
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
