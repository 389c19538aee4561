"""The command line as a whole: imports of each command, help texts and missing commands."""

import argparse
import re
import shlex
import subprocess
import sys
from importlib import import_module

import pytest

from bench.cli import main, options
from bench.cli.parsing import Parser
from bench.data import prepared
from support import paths

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


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    "words",
    [["--help"], ["run", "--help"], ["report", "--results", "."], ["verify", "--results", "."],
     ["list", "suites"], ["list", "tasks"], ["list", "recipes"], ["list", "backbones"]],
    ids=" ".join,
)  # fmt: skip
def test_commands_that_only_read_or_write_text_import_nothing_heavy(tmp_path, words):
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
    assert done.stdout.split() == ["bench.utils", "bench.utils.errors", "bench.utils.escaping"]


@pytest.mark.parametrize("path", main.command_files().values(), ids=lambda path: path.stem)
def test_a_command_s_file_has_a_line_of_help_options_and_a_call(path):
    command = import_module(f"bench.cli.{path.stem}")
    line = command.__doc__.splitlines()[0]
    assert line.endswith(".")
    assert main.help_line(path) == line[0].lower() + line[1:-1]
    assert callable(command.add_options)
    assert callable(command.run)


def actions(parser):
    """Every option of a parser and of its subcommands, with the subcommand's name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for own in action.choices.values():
                yield from actions(own)
        elif action.dest != "help":
            yield action


@pytest.mark.parametrize("name", main.command_files())
def test_the_help_of_every_option_is_a_phrase_and_that_of_a_command_has_examples(name):
    command = main.load_command(main.command_files()[name])
    parser = Parser(prog=name)
    command.add_options(parser)
    for action in actions(parser):
        assert action.help, action.dest
        assert len(action.help.split()) >= 2, action.help
        assert not re.match(r"(default|that|whose|which|of|to) ?:?", action.help), action.help
    assert command.EXAMPLES
    for line in command.EXAMPLES:
        first, *words = shlex.split(line)
        assert first == name
        parser.parse_args(words)  # ends the process with a sentence if it does not fit


def test_the_help_of_run_is_in_groups():
    done = subprocess.run(
        [sys.executable, "-m", "bench", "run", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    titles = re.findall(r"^([a-z][a-z ]+):$", done.stdout, re.MULTILINE)
    assert titles == [
        *("options", "what is compared", "data", "how cells are run", "results"),
        *("which cells are run", "examples"),
    ]


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


def test_the_program_alone_shows_the_way_to_a_first_result(capsys):
    assert main.main([]) == 0
    out, err = capsys.readouterr()
    assert "python -m bench run --results demo" in out
    assert err == ""
    commands = [line.split()[3] for line in out.splitlines() if line.startswith("  python -m")]
    assert set(commands) <= main.command_files().keys()


def test_a_command_is_needed_beside_options(capsys):
    with pytest.raises(SystemExit) as end:
        main.main(["--results"])
    assert end.value.code == 2


@pytest.mark.sample(2)
@pytest.mark.parametrize("package", ["torch", "rich", "timm"])
def test_a_package_that_is_not_installed_is_named_with_the_command_that_installs_it(package):
    code = f"import sys; sys.modules[{package!r}] = None; import bench.__main__ as program"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; sys.exit(program.main())", "list", "methods"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stderr == f"bench: {package} is not installed: pip install -e .\n"
    assert done.returncode == 2
