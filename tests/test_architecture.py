"""The folder structure: imports between folders, printing, torch, and test file names."""

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent

# From the top floor down. A module imports from its own folder and from lower floors alone.
FLOORS = [
    {"cli"},
    {"execution", "performance"},
    {"prepare", "training", "report"},
    {"data", "models", "papers"},
    {"config"},
    {"records"},
    {"utils", "methods"},
]
LIGHT = {"report", "papers", "config", "records", "utils"}  # start without torch and timm
PRINTS = {"cli"}  # progress bars are rich's
FACES = {"bench", "bench.__main__"}  # the API and the entry point, which stand above all folders


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(p): p for top in ("bench", "methods") for p in (ROOT / top).rglob("*.py")}


def folder(module: str) -> str:
    """The folder of ``bench/`` that a module is in, or ``methods``."""
    top, _, rest = module.partition(".")
    return rest.split(".")[0] if top == "bench" else top


FLOOR = {name: floor for floor, names in enumerate(reversed(FLOORS)) for name in names}
INSIDE = sorted(MODULES.keys() - FACES)  # the modules that are in a folder


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imported(node: ast.AST) -> Iterator[str]:
    """The modules that a statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are written out, from the top"
        parts = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (part if part in MODULES else str(node.module) for part in parts)


@cache
def imports(module: str) -> frozenset[str]:
    """All that a module imports, wherever in it."""
    return frozenset(name for node in ast.walk(tree(module)) for name in imported(node))


def statements_at_import(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported."""
    for statement in statements:
        yield statement
        checks_types = isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.dump(statement.test)
        if not checks_types and not isinstance(statement, ast.FunctionDef):
            for part in ("body", "orelse", "finalbody"):
                yield from statements_at_import(getattr(statement, part, []))


@cache
def imports_at_import(module: str) -> frozenset[str]:
    """The modules that importing a module imports at once."""
    body = statements_at_import(tree(module).body)
    return frozenset(name for node in body for name in imported(node))


def outside_packages(module: str, seen: set[str]) -> set[str]:
    """The packages of others that importing a module imports, by way of whatever of ours."""
    seen.add(module)
    outside = set()
    for name in {*imports_at_import(module), module.rpartition(".")[0] or module}:
        if name not in MODULES:
            outside.add(name.split(".")[0])
        elif name not in seen:
            outside |= outside_packages(name, seen)
    return outside


def test_every_folder_with_code_is_on_one_floor():
    assert {folder(module) for module in INSIDE} == set().union(*FLOORS)
    assert sum(map(len, FLOORS)) == len(FLOOR)


@pytest.mark.parametrize("module", INSIDE)
def test_a_module_imports_from_its_folder_and_from_lower_floors(module):
    mine = folder(module)
    ours = {name for name in imports(module) if name in MODULES}
    wrong = {
        n for n in ours if folder(n) != mine and (n in FACES or FLOOR[folder(n)] >= FLOOR[mine])
    }
    assert not wrong, f"{module} is in {mine}, which does not import {sorted(wrong)}"


def test_methods_import_nothing_of_the_bench():
    for module in (name for name in MODULES if folder(name) == "methods"):
        assert not {name for name in imports(module) if name.split(".")[0] == "bench"}, module


def test_no_two_modules_of_the_bench_import_each_other():
    graph = {m: imports_at_import(m) & MODULES.keys() for m in MODULES if folder(m) != "methods"}
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("module", [name for name in INSIDE if folder(name) in LIGHT])
def test_folders_that_read_and_write_text_need_neither_torch_nor_timm(module):
    assert not outside_packages(module, set()) & {"torch", "timm", "torchvision", "peft"}


def test_only_the_command_line_prints():
    for module in (name for name in MODULES if folder(name) not in PRINTS):
        calls = [n.func for n in ast.walk(tree(module)) if isinstance(n, ast.Call)]
        assert not [f for f in calls if isinstance(f, ast.Name) and f.id == "print"], module


DOORS = {  # what writes text that may be of others, and where alone it is called: cells are escaped
    "print": {"bench.cli.common"},
    "writerows": {"bench.utils.tables"},
    "writerow": set(),
    "DictWriter": set(),
    "to_csv": {"bench.report.study_page"},
    "tabulate": {"bench.utils.tables", "bench.report.markdown"},
}


@pytest.mark.parametrize("name", DOORS)
def test_text_leaves_by_one_door(name: str) -> None:
    calls = {
        module
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call)
        and name in (getattr(node.func, "id", ""), getattr(node.func, "attr", ""))
    }
    through_rich = (
        {"bench.utils.progress_bars", "bench.report.terminal"} if name == "print" else set()
    )
    assert calls == DOORS[name] | through_rich


def test_nothing_shadows_or_imports_hugging_faces_datasets():
    assert not list((ROOT / "datasets").rglob("*.py"))
    for module in MODULES:
        assert "datasets" not in {name.split(".")[0] for name in imports(module)}, module


def test_every_package_is_named_in_pyproject():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "setuptools"
    ]
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    assert set(settings["packages"]) == packages
    assert {path.parent for path in MODULES.values()} == {MODULES[p].parent for p in packages}


def names_for_tests(folder: Path) -> set[str]:
    """The names with which a test file of this folder may begin: its modules, and its own."""
    place = folder.relative_to(TESTS)
    if place.name == "methods":  # methods/shared/ is tested in the same folder
        return {path.stem for path in (ROOT / "methods").rglob("*.py")} | {"methods"}
    return {path.stem for path in (ROOT / "bench" / place).glob("*")} | {place.name}


def test_a_test_file_is_named_by_a_module_of_its_folder():
    for path in TESTS.glob("*/**/test_*.py"):
        if path.parent.name not in ("fuzz", "gpu", "speed"):
            names = names_for_tests(path.parent)
            assert any(f"{path.stem}_".startswith(f"test_{name}_") for name in names), path
