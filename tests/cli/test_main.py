"""The commands beside `run`: what they print, and that the light ones stay light."""

import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

import methods
from bench.cli import main, options
from bench.config.backbone import backbone_cards
from bench.config.loading import RECIPES_DIR, SUITES_DIR, card_names
from bench.config.suite import load_suite
from bench.data import prepared
from methods.linear import Linear
from methods.shared import registry
from support import paths, tiny

ROOT = paths.REPO_ROOT
HEAVY = ("torch", "timm", "torchvision", "peft", "sklearn")
PROBE = f"""
import sys
from bench.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
sys.exit(", ".join(name for name in {HEAVY} if name in sys.modules) or None)
"""


@pytest.mark.parametrize(
    "words",
    [["--help"], ["run", "--help"], ["report", "--results", "."], ["verify", "--results", "."],
     ["list", "suites"], ["list", "tasks"], ["list", "recipes"], ["list", "backbones"]],
    ids=" ".join,
)  # fmt: skip
def test_what_only_reads_or_writes_text_imports_nothing_heavy(tmp_path, words):
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *words],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


HELP_PROBE = f"""
import contextlib, io, sys
from bench.cli.main import command_files, main
for words in ([], *([name] for name in command_files()), ["data", "import"]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main([*words, "--help"])
ours = {{name for name in sys.modules if name.startswith(("bench.", "methods"))}}
print(*sorted(name for name in ours if not name.startswith("bench.cli")))
sys.exit(", ".join(name for name in {(*HEAVY, "numpy", "pandas", "pydantic", "rich")}
                   if name in sys.modules) or None)
"""


def test_no_command_s_help_imports_what_the_command_needs(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", HELP_PROBE],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["bench.utils", "bench.utils.errors"]


@pytest.mark.parametrize("path", main.command_files().values(), ids=lambda path: path.stem)
def test_a_command_s_file_has_a_line_of_help_options_and_a_call(path):
    command = import_module(f"bench.cli.{path.stem}")
    line = command.__doc__.splitlines()[0]
    assert line.endswith(".")
    assert main.help_line(path) == line[0].lower() + line[1:-1]
    assert callable(command.add_options)
    assert callable(command.run)


def test_a_module_that_was_imported_lazily_leaves_nothing_behind():
    code = """
import sys
from bench.cli.main import lazy_imports
with lazy_imports():
    from bench.utils import text
    import rich.console
assert not {"bench.utils.text", "rich", "rich.console"} & sys.modules.keys()
assert not hasattr(sys.modules["bench.utils"], "text")
assert text.format_duration(1) and rich.console.Console()
import bench.utils.text
assert bench.utils.text is sys.modules["bench.utils.text"]
try:
    with lazy_imports():
        from bench.config.suite import Suite
except ImportError as error:
    assert "Suite" in str(error)
else:
    raise AssertionError("a name was imported lazily")
"""
    env = {"PYTHONPATH": str(ROOT), "PATH": ""}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)


def test_the_variants_that_options_offer_are_those_of_prepared_data():
    assert options.VARIANTS == prepared.VARIANTS


def listed(capsys, *words: str) -> list[str]:
    """The first word of each line that `list` prints."""
    assert main.main(["list", *words]) == 0
    return [line.split()[0] for line in capsys.readouterr().out.splitlines()]


def test_list_names_every_method_suite_recipe_and_backbone(capsys):
    assert listed(capsys, "methods") == methods.names()
    assert listed(capsys, "suites") == card_names(SUITES_DIR)
    assert listed(capsys, "recipes") == card_names(RECIPES_DIR)
    assert listed(capsys, "backbones") == list(backbone_cards())


def test_list_names_the_tasks_of_one_suite_or_of_all(capsys):
    assert listed(capsys, "tasks", "--suite", "vtab1k") == ["vtab1k"] * 19
    assert set(listed(capsys, "tasks")) == set(card_names(SUITES_DIR))
    assert main.main(["list", "tasks", "--suite", "mini"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == [task.name for task in load_suite("mini").task]


def test_a_kind_that_cannot_be_listed_is_refused_with_those_that_can(capsys):
    with pytest.raises(SystemExit) as end:
        main.main(["list", "optimisers"])
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("bench: argument what: invalid choice: 'optimisers'")
    assert err.count("\n") == 1


def test_a_command_is_needed(capsys):
    with pytest.raises(SystemExit) as end:
        main.main([])
    assert end.value.code == 2
    assert "required: COMMAND" in capsys.readouterr().err


@dataclass(frozen=True)
class Failing(Linear):
    """Fails whenever it is run."""

    def prepare(self, model, batches):
        raise RuntimeError("as it should")


def test_status_counts_cells_done_failed_and_not_run(cards, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("bench.report.figures._figure_specs", list)
    monkeypatch.setitem(registry._methods, "failing", Failing())
    status = tiny.command("status", cards, tmp_path, "linear,failing", "--seeds", "0,1,2")
    assert main.main(status) == 0
    assert capsys.readouterr().out.splitlines()[0] == "0 done, 0 running, 0 failed, 6 left"
    main.main(tiny.command("run", cards, tmp_path, "linear", "--seeds", "0,1"))
    main.main(tiny.command("run", cards, tmp_path, "failing"))
    capsys.readouterr()
    assert main.main(status) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "2 done, 0 running, 1 failed, 3 left"
    assert second.startswith("about ")


def test_report_names_what_it_wrote_and_verify_agrees(cards, tmp_path, capsys):
    main.main(tiny.command("run", cards, tmp_path, "linear,bias"))
    (tmp_path / "leaderboard.md").unlink()
    assert main.main(["verify", "--results", str(tmp_path)]) == 1
    assert f"{tmp_path / 'leaderboard.md'} is not what the records give" in capsys.readouterr().err
    assert main.main(["report", "--results", str(tmp_path)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert str(tmp_path / "leaderboard.md") in out
    assert all(Path(line).is_file() for line in out)
    assert main.main(["verify", "--results", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "2 records, 0 unsound; 0 tables out of date\n"


@pytest.mark.parametrize("act", ["report", "verify"])
def test_a_results_folder_that_is_not_there_is_named_not_made(tmp_path, capsys, act):
    assert main.main([act, "--results", str(tmp_path / "resluts")]) == 2
    assert f"no results folder at {tmp_path / 'resluts'}" in capsys.readouterr().err
    assert not (tmp_path / "resluts").exists()


def test_pretrain_needs_a_folder_of_images(tmp_path, capsys):
    argv = ["pretrain", "mae", "--images", str(tmp_path / "none"), "--out", str(tmp_path / "w")]
    assert main.main(argv) == 2
    assert "no folder of images at" in capsys.readouterr().err
