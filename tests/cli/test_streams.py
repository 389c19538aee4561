"""The program in terminals that cannot show everything, in pipes that nobody reads, and closed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import made_up_records, paths, tiny

ASCII = {"PYTHONIOENCODING": "ascii"}
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
NOT_ASCII = "récords"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with two records and no table, in a folder whose name is not ASCII."""
    folder = tmp_path_factory.mktemp("results") / NOT_ASCII
    made_up_records.write(folder, made_up_records.forty()[:2])
    return folder


def environment(**more: str) -> dict[str, str]:
    own = {k: v for k, v in os.environ.items() if k not in ("LC_ALL", *ASCII, *C_LOCALE)}
    return {**own, "PYTHONPATH": str(paths.REPO_ROOT), "OMP_NUM_THREADS": "1", **more}


def bench(*words: str, more: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *words],
        env=environment(**(more or {})),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.long
@pytest.mark.parametrize("more", [ASCII, C_LOCALE], ids=["ascii", "C locale"])
def test_what_a_terminal_cannot_show_is_replaced(more: dict[str, str], results: Path) -> None:
    done = bench("claims", "--results", str(results), "--paper", "spt2024", more=more)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert "±" not in done.stdout
    assert "?" in done.stdout  # of a dash
    done = bench("show", "--results", str(results), "±", more=more)
    assert done.returncode == 2
    assert done.stderr.isascii()
    assert done.stderr.count("\n") == 1


@pytest.mark.long
def test_a_run_ends_as_usual_in_the_c_locale(cards: Path, tmp_path: Path) -> None:
    words = tiny.command("run", cards, tmp_path / NOT_ASCII, "linear", "--workers", "1")
    done = bench(*words, more=C_LOCALE)
    assert done.returncode == 0, done.stderr
    assert "linear" in done.stdout
    assert (done.stdout + done.stderr).isascii()
    assert len(list((tmp_path / NOT_ASCII / "records").rglob("*.json"))) == 1


@pytest.mark.long
def test_a_name_that_the_locale_cannot_write_is_a_sentence(tmp_path: Path) -> None:
    card = tiny.suite_card(tmp_path / "tiny.toml", Path("wéights.toml"))
    words = tiny.command("run", tmp_path, tmp_path / "results", "linear")
    (tmp_path / "data" / "light").mkdir(parents=True)
    done = bench(*words, "--suite", str(card), more=C_LOCALE)
    assert done.returncode == 2
    assert done.stderr.startswith("bench: ")
    assert done.stderr.count("\n") == 1


CODE = "exec {python} -m bench {words} {redirection}"


@pytest.mark.sample(4)
@pytest.mark.parametrize("redirection", ["| head -c 1", ">&-", "<&- >&- 2>&-", "2>&1 | head -c 1"])
@pytest.mark.parametrize(
    ("words", "status"), [("list tasks", 0), ("--help", 0), ("verify --results {}", 1), ("lst", 2)]
)
def test_a_closed_stream_ends_quietly_with_the_usual_status(
    words: str, status: int, redirection: str, results: Path
) -> None:
    words = words.format(f"'{results}'")
    line = f"set -o pipefail; {sys.executable} -m bench {words} {redirection}"
    done = subprocess.run(
        ["bash", "-c", line], env=environment(), capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert "rror" not in done.stderr
    assert all(line.startswith("bench: ") for line in done.stderr.splitlines())


PROBE = """
import os, sys
from bench.cli.streams import run_program
for number in (0, 1, 2):
    os.close(number)
sys.stdin = sys.stdout = sys.stderr = None
def main():
    print("lost")
    print("lost", file=sys.stderr)
    return os.open(os.devnull, os.O_WRONLY)
sys.exit(7 if run_program(main) > 2 else 3)
"""


def test_no_file_takes_the_place_of_a_closed_stream() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], env=environment(), check=False)
    assert done.returncode == 7


def test_what_cannot_be_written_to_a_full_disk_is_said(results: Path) -> None:
    line = f"{sys.executable} -m bench list tasks > /dev/full"
    done = subprocess.run(
        ["bash", "-c", line], env=environment(), capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


STRICT = """
import warnings
warnings.filterwarnings("error", category=EncodingWarning, module="(bench|methods)([.]|$)")
"""
SEVERAL = """
import sys
from bench.cli.main import main
for words in open(sys.argv[1], encoding="utf-8").read().split("\\n\\n"):
    assert main(words.split("\\n")) in (0, 1), words
"""


@pytest.mark.long
def test_every_file_and_pipe_is_opened_with_its_encoding(
    results: Path, cards: Path, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(STRICT, encoding="utf-8")  # also of workers
    there = ["--results", str(tmp_path / "results")]
    cell = made_up_records.forty()[0].cell
    commands = [
        tiny.command("run", cards, tmp_path / "results", "linear,bias", "--workers", "1"),
        tiny.command("tune", cards, tmp_path / "results", "linear", "--set", "tuning.trials=2"),
        ["report", *there, "--paper", "spt2024", "--suite", "mini"],
        ["claims", *there],
        ["verify", *there],
        ["show", "--results", str(results), cell],
        ["diff", "--results", str(results), cell, cell],
        ["merge", *there, str(results)],
        ["migrate", *there],
        ["export", *there, "--format", "latex"],
        ["list", "tasks"],
        ["data", "status", "--data-root", str(tmp_path)],
    ]
    lines = tmp_path / "commands"
    lines.write_text("\n\n".join("\n".join(words) for words in commands), encoding="utf-8")
    path = f"{tmp_path}{os.pathsep}{paths.REPO_ROOT}"
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL, str(lines)],
        env=environment(PYTHONWARNDEFAULTENCODING="1", PYTHONPATH=path),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "results" / "records").rglob("linear-*.json"))) == 1
