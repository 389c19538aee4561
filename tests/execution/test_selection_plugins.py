"""Plug-in files that fail, however they do it: a sentence each, and nothing of them stays."""

from collections.abc import Callable
from pathlib import Path

import pytest

import methods
from bench.cli.main import main
from bench.execution import selection
from bench.utils.names import name_problem
from support import odd_files, tiny

HEAD = (
    "from dataclasses import dataclass\nfrom typing import Any\n"
    "from methods import Method, register\n\n\n"
    "@dataclass(frozen=True)\nclass Mine(Method):\n    size: Any = 1\n\n"
    "    def attach(self, model):\n        pass\n\n\n"
)
GOOD = f'{HEAD}register("mine", Mine())\n'
FAULTS = {
    "syntax": ("def f(:\n", "SyntaxError"),
    "bytes": (b"x = '\xff'\n", "SyntaxError"),
    "zeros": (b"x = 1\x00\n", "left out"),
    "import": ("import nothing_of_that_name\n", "ModuleNotFoundError"),
    "exit": (f"{GOOD}raise SystemExit(7)\n", "SystemExit: 7"),
    "exit without a word": (f"{GOOD}import sys\nsys.exit()\n", "SystemExit"),
    "recursion": (f"{GOOD}def f(): f()\nf()\n", "RecursionError"),
    "nesting": ("x = " + "(" * 10_000, "left out"),
    "lines": (f'{GOOD}raise ValueError("one\\ntwo")\n', "ValueError: one"),
    "nothing": ("", "registers no method"),
    "taken name": (f'{GOOD}register("lora", Mine())\n', "'lora' is taken"),
    "path": (f'{GOOD}register("../x", Mine())\n', "no name for a method"),
    "empty name": (f'{GOOD}register("", Mine())\n', "no name for a method"),
    "escape": (f'{GOOD}register("a\\x1b[31m", Mine())\n', "no name for a method"),
    "number": (f"{GOOD}register(3, Mine())\n", "no name for a method"),
    "long name": (f'{GOOD}register("x" * 10**6, Mine())\n', "no name for a method"),
    "class": (f'{GOOD}register("other", Mine)\n', "which is no method"),
    "object": (f'{GOOD}register("other", object())\n', "which is no method"),
}


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(("content", "says"), FAULTS.values(), ids=FAULTS.keys())
def test_a_plug_in_that_fails_is_named_and_leaves_nothing(
    tmp_path: Path, content: str | bytes, says: str
) -> None:
    before = methods.names()
    (problem,) = selection.load_plugins([written(tmp_path / "bad.py", content)])
    assert f"the plug-in {tmp_path / 'bad.py'}" in problem
    assert says in problem
    assert len(problem.splitlines()) == 1
    assert len(problem) < 600
    assert methods.names() == before
    assert selection.load_plugins([written(tmp_path / "good.py", GOOD)]) == []


@pytest.mark.parametrize("make", odd_files.NOT_REGULAR, ids=lambda make: make.__name__)
def test_a_plug_in_that_is_no_file_is_named(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "bad.py")
    with odd_files.time_limit(60):
        (problem,) = selection.load_plugins([tmp_path / "bad.py"])
    assert "is not a Python file that is there" in problem


@pytest.mark.parametrize("path", ["x.txt", "nowhere.py", "\x00.py", f"{'x' * 5000}.py", ".py", ""])
def test_a_plug_in_s_name_that_no_file_has_is_named(path: str) -> None:
    (problem,) = selection.load_plugins([Path(path)])
    assert "is not a Python file that is there" in problem


def test_a_plug_in_of_a_terabyte_or_a_pointer_is_named(tmp_path: Path) -> None:
    odd_files.sparse(tmp_path / "large.py")
    odd_files.pointer(tmp_path / "pointer.py")
    with odd_files.time_limit(60):
        large, pointer = selection.load_plugins([tmp_path / "large.py", tmp_path / "pointer.py"])
    assert "cannot be read: it is larger than" in large
    assert pointer.endswith(odd_files.LFS_SENTENCE)


def test_a_plug_in_that_exits_does_not_end_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "exits.py", "raise SystemExit(7)\n")
    assert main(["list", "methods", "--plugin", str(path)]) == 0
    told = capsys.readouterr()
    assert "was left out: SystemExit: 7" in told.err
    assert "lora" in told.out


@pytest.mark.parametrize(
    "value", ["float('nan')", "10**400", "object()", "'a\\x00'", "{1, 2}", "b'x'", "[[[[[[1]]]]]]"]
)
def test_a_method_whose_fields_no_record_can_hold_is_refused_before_it_runs(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    path = written(tmp_path / "odd.py", f'{HEAD}register("mine", Mine({value}))\n')
    words = tiny.command("run", cards, tmp_path, "mine", "--dry-run", "--plugin", str(path))
    assert main(words) == 2
    assert "bench: mine: size: " in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name", methods.names())
def test_every_method_of_the_project_has_a_name_that_records_can_hold(name: str) -> None:
    assert not name_problem(name)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("rank=true", "rank=True: Input should be a valid integer"),
        ("rank='8'", "rank='8': Input should be a valid integer"),
        ("rank=1.5", "rank=1.5: Input should be a valid integer"),
        ("alpha='x'", "alpha='x': Input should be a valid number"),
        ("alpha=true", "alpha=True: Input should be a valid number"),
        ("rank=100000000000000000", "lora"),
    ],
)
def test_a_field_of_another_type_is_refused(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, says: str
) -> None:
    words = tiny.command("run", cards, tmp_path, "lora", "--dry-run", "--set", change)
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
