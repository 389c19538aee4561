"""The documentation's site: it builds without a warning, and its generated pages are complete."""

import importlib.util
import logging
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import bench
from bench.cli import main
from bench.config.loading import RECIPES_DIR
from bench.records import schema
from bench.utils.files import REPO_ROOT

if any(importlib.util.find_spec(name) is None for name in ("mkdocs", "material", "mkdocstrings")):
    pytest.skip("the site needs mkdocs: pip install -e '.[docs]'", allow_module_level=True)

from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

import field_tables
import notebook_pages
import site_hooks


def build_site(folder: Path, **changes: object) -> Path:
    config = load_config(str(REPO_ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True, **changes)
    config.plugins.on_startup(command="build", dirty=False)
    try:
        build(config)
    finally:
        config.plugins.on_shutdown()
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with warnings as errors: a broken link or anchor ends the build."""
    return build_site(tmp_path_factory.mktemp("site"))
