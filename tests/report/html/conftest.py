"""A made-up page in a real browser, in which nothing may go wrong or be asked of a network."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from bench.report import html
from support.made_up_page import CLAIM, PICTURES, REQUEST
from support.made_up_records import boards, forty, make, row

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
Open = Callable[..., Any]
LATE_VIEWS = """
const listen = window.addEventListener;
window.addEventListener = (type, listener, ...options) => {
  const late = (event) => setTimeout(() => listener(event), 50);
  listen.call(window, type, type === "hashchange" ? late : listener, ...options);
};
"""  # as on a busy machine, so that a test that does not wait for a view fails on every one


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"needs one of the browsers {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a page with several suites, backbones, recipes and groups.

    On the suite `apart`, three methods are compared over twelve tasks, and one differs.
    """
    other = {"name": "unified", "version": 1, "batch": 64, "epochs": 100}
    records = forty() + row("bias", [51.0] * 5, recipe=other) + row("bias", [9.5] * 2, suite="own")
    records += row("long", [60.0] * 5, fields={"init": "x" * 200}, backbone="b" * 90)
    means = {"lora": 70.0, "bias": 50.0, "linear": 50.5}
    records += [
        make(
            method,
            f"task{i}",
            accuracy=mean + i + (i % 3 if method == "linear" else 0),
            suite="apart",
        )
        for method, mean in means.items()
        for i in range(12)
    ]
    records = [replace(record, request=REQUEST) for record in records]
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(html.render(boards(records), records, [CLAIM], PICTURES), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Open]:
    """Opens the page; afterwards, nothing may have been complained of or asked of a network."""
    contexts, complaints = [], []

    def visit(anchor: str = "", page: str = address, **options: Any) -> Any:
        contexts.append(context := browser.new_context(**options))
        context.set_default_timeout(10_000)
        context.add_init_script(LATE_VIEWS)
        tab = context.new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("requestfailed", lambda request: complaints.append(request.url))
        tab.on("request", lambda request: complaints.extend(re.findall("^https?:.*", request.url)))
        tab.goto(page + anchor)
        if options.get("java_script_enabled", True):
            tab.locator("body.scripted").wait_for()
        return tab

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []
