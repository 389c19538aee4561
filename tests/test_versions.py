"""pyproject.toml declares what the code imports, with the bounds that `tox -e lowest` tries."""

import ast
import configparser
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = SETTINGS["project"]
DEPENDENCIES = [Requirement(text) for text in PROJECT["dependencies"]]
EXTRAS = {
    extra: [Requirement(text) for text in texts]
    for extra, texts in PROJECT["optional-dependencies"].items()
}
DECLARED = [*DEPENDENCIES, *(requirement for extra in EXTRAS.values() for requirement in extra)]
NOT_IN_DEV = {"tensorboard"}  # as optional for whoever changes the code as for whoever runs it
OURS = {"bench", "methods", "support", "mutants", "fuzz"}
A_PART = {"pydantic_core"}  # of pydantic, which requires one version of it


def read_tox() -> configparser.ConfigParser:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    return tox


TOX = read_tox()
LOWEST_EXTRAS = re.search(r"--editable \.\[(.+)\]", TOX["testenv:lowest"]["commands_pre"])[1]


def imported_packages(top: str) -> Iterator[str]:
    """The packages of others that the files of a folder import, wherever in them."""
    for path in (ROOT / top).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield str(node.module).split(".")[0]


def names(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


@pytest.mark.parametrize(
    ("top", "extras"), [("bench", EXTRAS.keys() - {"dev"}), ("methods", []), ("tests", EXTRAS)]
)
def test_whatever_is_imported_is_declared(top, extras):
    declared = names(DEPENDENCIES).union(*(names(EXTRAS[extra]) for extra in extras))
    provided = packages_distributions()
    imported = set(imported_packages(top)) - sys.stdlib_module_names - OURS - A_PART
    assert len(imported) > 3
    for package in imported & provided.keys():  # an extra need not be installed
        distributions = {canonicalize_name(name) for name in provided[package]}
        assert distributions & declared, f"{top} imports {package}, of {distributions}"


@pytest.mark.parametrize("requirement", DECLARED, ids=str)
def test_a_requirement_has_a_lower_bound_and_nothing_else(requirement):
    assert [specifier.operator for specifier in requirement.specifier] == [">="]
    assert not requirement.marker


def test_a_package_has_the_same_bound_wherever_it_is_declared():
    bounds = {}
    for requirement in [*DECLARED, *map(Requirement, tox_requirements())]:
        name = canonicalize_name(requirement.name)
        assert bounds.setdefault(name, requirement.specifier) == requirement.specifier, name


def tox_requirements() -> list[str]:
    """The requirements of tox.ini that have a bound."""
    lines = (line for name in TOX.sections() for line in TOX[name].get("deps", "").splitlines())
    return [line for line in lines if ">=" in line]


def test_the_extra_for_developers_and_lowest_hold_every_other():
    for extra in EXTRAS.keys() - NOT_IN_DEV:
        assert names(EXTRAS[extra]) <= names(EXTRAS["dev"]), extra
    assert {*LOWEST_EXTRAS.split(",")} == {"dev", *NOT_IN_DEV}


def test_the_pythons_that_are_named_are_those_that_are_tried():
    prefix = "Programming Language :: Python :: "
    named = [text.removeprefix(prefix) for text in PROJECT["classifiers"] if prefix in text]
    assert PROJECT["requires-python"] == f">={named[0]}"
    assert f"Python {named[0]} or newer" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert SETTINGS["tool"]["mypy"]["python_version"] == named[0]
    assert SETTINGS["tool"]["ruff"]["target-version"] == f"py{named[0].replace('.', '')}"
    assert TOX["testenv:lowest"]["base_python"] == f"python{named[0]}"
    others = ",".join(version.removeprefix("3.") for version in named[1:])
    assert f"testenv:py3{{{others}}}" in TOX.sections()


def test_the_core_tests_exist():
    words = TOX["core"]["tests"].split()
    paths = [ROOT / word for word in words if word.startswith("tests/")]
    assert len(paths) > 5
    assert all(path.exists() for path in paths), paths


def test_contributing_names_every_environment():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for section in TOX.sections():
        kind, _, name = section.partition(":")
        if kind == "testenv" and name and "{" not in name:
            assert f"`{name}`" in text, name


@pytest.mark.skipif(os.environ.get("TOX_ENV_NAME") != "lowest", reason="for `tox -e lowest`")
@pytest.mark.parametrize("requirement", DECLARED, ids=str)
def test_the_lowest_version_is_the_one_that_is_tried(requirement):
    (specifier,) = requirement.specifier
    bound = Version(specifier.version).release
    assert Version(version(requirement.name)).release[: len(bound)] == bound
