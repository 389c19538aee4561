"""Who may import whom, print, and lie where: read from the source, so that it stays so."""

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMPUTES = {"torch", "timm", "torchvision", "peft"}
LIGHT = ("bench.utils.errors", "bench.records.schema", "bench.config.suite", "bench.config.loading", "bench.config.source",
         "bench.report", "bench.cli.main", "bench.config.overrides", "bench.config.backbone", "bench.config.backbone",
         "bench.cli.commands", "bench.cli.run", "bench.cli.tune", "bench.cli.data", "bench.config.search_space",
         "bench.execution.request", "bench.cli.record_commands",
         "bench.report.record_checks", "bench.report.record_diff", "bench.records.store",
         "bench.execution.jobs", "bench.execution.executors.remote_job", "bench.execution.executors.slurm_batch",
         "bench.records.measurements", "bench.papers.study", "bench.records.measurements",
         "bench.papers.study", "bench.report.study_data", "bench.report.study_page",
         "bench.report.study_numbers", "bench.report.study_data", "bench.report.study_numbers",
         "bench.execution.progress", "bench.__main__")  # fmt: skip
PRINTS = {"bench.cli.commands", "bench.cli.run", "bench.cli.main", "bench.execution.progress"}

# A module may import from its own floor and those below. What is not named here stands on the
# floor of the runner: above what it uses, below the command line.
FLOORS = {
    "bench.utils.text": 0,
    "bench.utils.errors": 0,
    "bench.records.schema": 1,
    "bench.config.suite": 1,
    "bench.config.loading": 1,
    "bench.config.overrides": 1,
    "bench.config.search_space": 1,
    "bench.execution.request": 1,
    "bench.config.source": 1,
    "bench.data.prepared": 1,
    "bench.utils.parallel": 1,
    "bench.utils.files": 1,
    "bench.data.images": 1,
    "bench.data.locations": 2,
    "bench.data.locations": 2,
    "methods": 2,
    "bench.data.builtin_rendering": 3,
    "bench.data.builtin_tasks": 3,
    "bench.utils.environment": 3,
    "bench.data.loader": 3,
    "bench.models.compilation": 3,
    "bench.data.image_cache": 3,
    "bench.data.prefetch": 3,
    "bench.data.transforms": 3,
    "bench.data.splits": 3,
    "bench.config.backbone": 1,
    "bench.config.backbone": 1,
    "bench.models.weight_files": 3,
    "bench.models.weight_files": 3,
    "bench.models.backbones": 3,
    "bench.models.compatibility": 3,
    "bench.data.distributed": 3,
    "bench.training.trainer": 3,
    "bench.training.callbacks": 3,
    "bench.models.frozen_trunk": 3,
    "bench.models.frozen_trunk": 3,
    "bench.training.feature_cache": 3,
    "bench.cli.commands": 5,
    "bench.cli.run": 5,
    "bench.cli.tune": 5,
    "bench.cli.data": 5,
    "bench.cli.main": 6,
    "bench.__main__": 7,
}
RUNNER = 4


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(p): p for top in ("bench", "methods") for p in (ROOT / top).rglob("*.py")}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


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


def at_once(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported."""
    for statement in statements:
        yield statement
        checks_types = isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.dump(statement.test)
        if not checks_types and not isinstance(statement, ast.FunctionDef):
            for part in ("body", "orelse", "finalbody"):
                yield from at_once(getattr(statement, part, []))


@cache
def imports_at_once(module: str) -> frozenset[str]:
    """What a module needs before any of its functions is called."""
    return frozenset(name for node in at_once(tree(module).body) for name in imported(node))


def needs(module: str, seen: set[str]) -> set[str]:
    """The outside packages that importing a module imports, by way of whatever of ours."""
    seen.add(module)
    outside = set()
    for name in {*imports_at_once(module), module.rpartition(".")[0] or module}:
        if name not in MODULES:
            outside.add(name.split(".")[0])
        elif name not in seen:
            outside |= needs(name, seen)
    return outside


def floor(module: str) -> int:
    return FLOORS.get("methods" if is_method(module) else module, RUNNER)


def is_method(module: str) -> bool:
    return module.split(".")[0] == "methods"


def ours(module: str) -> set[str]:
    return {name for name in imports(module) if name in MODULES}


def test_every_floor_is_a_modules():
    assert set(FLOORS) <= set(MODULES)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_from_its_floor_and_below(module):
    above = {name for name in ours(module) if floor(name) > floor(module)}
    assert not above, f"{module} stands on floor {floor(module)}, below {above}"


def test_methods_know_nothing_of_the_bench():
    for module in filter(is_method, MODULES):
        assert not {name for name in imports(module) if name.split(".")[0] == "bench"}, module


def test_the_contract_needs_methods_alone():
    assert all(is_method(name) for name in ours("bench.models.method_checks"))


def test_no_two_modules_of_the_bench_need_each_other():
    graph = {
        module: imports_at_once(module) & MODULES.keys()
        for module in MODULES
        if not is_method(module)
    }
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("module", sorted(m for m in MODULES if m.startswith(LIGHT)))
def test_what_reads_and_writes_text_imports_neither_torch_nor_timm(module):
    assert not needs(module, set()) & COMPUTES


def test_only_the_command_line_and_the_console_print():
    for module in MODULES.keys() - PRINTS:
        calls = [n.func for n in ast.walk(tree(module)) if isinstance(n, ast.Call)]
        assert not [f for f in calls if isinstance(f, ast.Name) and f.id == "print"], module


def test_nothing_shadows_or_imports_hugging_faces_datasets():
    assert not list((ROOT / "datasets").rglob("*.py"))
    for module in MODULES:
        assert "datasets" not in {name.split(".")[0] for name in imports(module)}, module


def test_every_package_is_named_in_pyproject():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    assert set(settings["packages"]) == packages
    assert {path.parent for path in MODULES.values()} == {MODULES[p].parent for p in packages}
