"""Playwright's assertions, which wait for what a page shows a moment after an action."""

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="needs playwright").expect
expect.set_options(timeout=10_000)  # milliseconds, as the actions of the fixture `visit`
