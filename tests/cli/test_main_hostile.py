"""Output and files of every command, where names, messages, cards and paths are hostile."""

import contextlib
import json
import shutil
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from bench.cli import main, streams
from bench.execution import progress
from bench.performance import compatibility_page, method_traits, parameter_counts
from bench.performance.compatibility_page import EXAMPLES
from bench.records.schema import Failure, Record
from bench.records.store import Store
from bench.utils.escaping import for_terminal
from bench.utils.progress_bars import TransferProgress
from support import hostile, made_up_records, run_records, tiny

TEXTS = hostile.TEXTS
TITLE = TEXTS["newline"] + TEXTS["escape sequence"] + TEXTS["link"] + TEXTS["bidi override"]
ODD = "\x1b[31mPWN\u202e\nbench: PWN"  # the name of a file or a folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny suite, with a hostile title, in a folder with a hostile name."""
    folder = tmp_path_factory.mktemp("cards") / ODD
    folder.mkdir()
    tiny.write_task(folder / "data" / "light", train=36)
    tiny.suite_card(folder / "tiny.toml", Path("vit_micro_mae"))
    text = (folder / "tiny.toml").read_text(encoding="utf-8")
    hostile_title = f"title = {json.dumps(TITLE)}"
    (folder / "tiny.toml").write_text(text.replace('title = "Tiny"', hostile_title), "utf-8")
    (folder / "plugin.py").write_text("raise ValueError('\x1b[31mPWN\\nbench: PWN')\n", "utf-8")
    return folder


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder with a hostile name, of records that are as hostile as the schema allows."""
    records = []
    for text, record in zip(TEXTS.values(), made_up_records.forty(), strict=False):
        if text.encode(errors="replace").decode() == text:  # JSON holds no other
            records.append(_hostile(record, text))
    folder = tmp_path / ODD
    made_up_records.write(folder, records)
    return folder


def _hostile(record: Record, text: str) -> Record:
    failure = replace(record.failure, error=text, message=text) if record.failure else None
    request = {"suite": "mini", "method": "bias", "backbone": "vit_mini_mae", "task": "digits",
               "seed": 3, "recipe": None, "changes": {"init": text}, "data_root": text}  # fmt: skip
    about = {"device_name": text, "threads": 1, "torch": text}
    return replace(record, remark=text, failure=failure, environment=about, request=request)


def cell(results: Path, number: int = 0) -> str:
    return Store(results).files()[number].stem.rpartition("-")[2]


def tiny_words(folder: Path, *more: str) -> list[str]:
    return ["--suite", str(folder / "tiny.toml"), "--data-root", str(folder / "data"), *more]


Words = Callable[[Path, Path], Iterable[list[str]]]  # results, cards -> lists of words
BAD = list(TEXTS.values())
# of each command: words that it can do something with
COMMANDS: dict[str, Words] = {
    "agreement": lambda r, _: [["--results", str(r)], ["--results", str(r), "--methods", "bias"]],
    "check-method": lambda *_: [["zz_broken"]],
    "claims": lambda r, _: [["--results", str(r)]],
    "compatibility": lambda _, f: [["--out", str(f / "compatibility.md")]],
    "cost": lambda r, _: [["--results", str(r), "--methods", "zz_refused", "--rounds", "1"]],
    "data": lambda _, f: [
        ["status", *tiny_words(f)],
        ["check", *tiny_words(f)],
        ["prepare", *tiny_words(f)],
        ["import", str(f), *tiny_words(f)],
    ],
    "diff": lambda r, _: [["--results", str(r), cell(r), cell(r, 1)]],
    "doctor": lambda r, f: [tiny_words(f, "--results", str(r), "--methods", "zz_broken")],
    "ensemble": lambda r, _: [["--results", str(r), cell(r), cell(r, 1)]],
    "export": lambda r, f: [
        ["--results", str(r), "--format", "csv"],
        ["--results", str(r), "--format", "latex"],
        ["--results", str(r), "--record", str(Store(r).files()[0]), "--data-root", str(f)],
    ],
    "interpolate": lambda r, f: [["--results", str(r), "--data-root", str(f), cell(r)]],
    "list": lambda _, f: [
        ["methods"],
        ["suites"],
        ["studies"],
        ["tasks", "--suite", str(f / "tiny.toml")],
        ["methods", "--plugin", str(f / "plugin.py")],
    ],
    "merge": lambda r, f: [["--results", str(f / "merged"), str(r)]],
    "migrate": lambda r, _: [["--results", str(r)]],
    "new-method": lambda _, f: [["scaled", "--out", str(f / "new")]],
    "parameters": lambda r, _: [["--results", str(r)]],
    "performance": lambda r, _: [["--results", str(r), "--only", BAD[0]]],
    "pretrain": lambda _, f: [["mae", "--images", str(f / "none"), "--out", str(f / "o")]],
    "report": lambda r, _: [["--results", str(r)], ["--results", str(r), "--paper", "spt2024"]],
    "run": lambda r, f: [
        tiny_words(f, "--results", str(r), "--methods", "zz_broken", "--workers", "0"),
        tiny_words(f, "--results", str(r), "--methods", "linear", "--dry-run"),
    ],
    "show": lambda r, _: [["--results", str(r), cell(r)]],
    "status": lambda r, f: [tiny_words(f, "--results", str(r))],
    "difficulty": lambda r, _: [["--suite", "mini", "--results", str(r)]],
    "tricks": lambda r, _: [["--results", str(r)]],
    "tune": lambda r, f: [tiny_words(f, "--results", str(r), "--methods", "bias", "--dry-run")],
    "verify": lambda r, _: [["--results", str(r)], [str(r)]],
    "weights": lambda _, f: [["status", str(f / "small.toml")], ["check", str(f / "small.toml")]],
}
ANSWERS_IN_JSON = {"worker"}  # to the process that started it, in ASCII


def test_every_command_is_walked() -> None:
    assert main.command_files().keys() == COMMANDS.keys() | ANSWERS_IN_JSON


def act(words: list[str]) -> None:
    with contextlib.suppress(SystemExit):
        assert main.main(words) in (0, 1, 2)


def leave_out_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all methods' ledger, count nothing and merge the broken ones alone: it takes minutes."""
    merges = method_traits.merges_exactly
    broken = run_records.Raising
    for name in ("count_parameters", "stored_bytes", "mean_millions"):
        monkeypatch.setattr(parameter_counts, name, lambda *_: 0)
    monkeypatch.setattr(
        method_traits, "merges_exactly", lambda one: isinstance(one, broken) and merges(one)
    )


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The problems of the output on either stream."""
    out, err = capsys.readouterr()
    return [problem for text in (out, err) for problem in hostile.in_terminal(text)]


@pytest.mark.sample(6)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_takes_a_text_for_more(
    command: str,
    results: Path,
    folder: Path,
    no_figures: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, kind in (("zz_broken", "RuntimeError"), ("zz_refused", "Unsupported")):
        run_records.register(monkeypatch, name, run_records.Raising(error=kind, message=TITLE))
    leave_out_counts(monkeypatch)
    monkeypatch.setattr(compatibility_page, "EXAMPLES", {TITLE: EXAMPLES["ResNet"]})
    for words in COMMANDS[command](results, folder):
        act([command, *words])
        assert not printed(capsys), words
    made = [path for path in results.rglob("*") if path.is_file() and "records" not in path.parts]
    assert not [p for path in made for p in hostile.problems(path.name, path.read_bytes())]
    shutil.rmtree(folder / "merged", ignore_errors=True)


@pytest.mark.sample(6)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_s_complaint_takes_a_word_for_more(
    command: str,
    folder: Path,
    results: Path,
    tmp_path: Path,
    no_figures: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    leave_out_counts(monkeypatch)
    monkeypatch.setattr(compatibility_page, "EXAMPLES", {TITLE: EXAMPLES["ResNet"]})
    monkeypatch.chdir(tmp_path)  # a hostile name may be that of a folder to write
    first = next(iter(COMMANDS[command](results, folder)))
    places = [i for i, word in enumerate(first) if not word.startswith("--")]
    for text in (ODD, "".join(BAD), TEXTS["nul"], TEXTS["surrogate"]):
        for place in places:
            words = [*first[:place], text, *first[place + 1 :]]
            act([command, *words])
            assert not printed(capsys), words
    for text in BAD:
        act([command, f"--{text}"])
        assert not printed(capsys), text


def test_progress_takes_no_text_for_markup(capsys: pytest.CaptureFixture[str]) -> None:
    record = made_up_records.make("bias", "digits")
    for text in BAD:
        with open("/dev/null", "w", encoding="utf-8", errors="replace") as nowhere:
            drawn = Console(file=nowhere, force_terminal=True, record=True, width=400)
            shown = progress.RunProgress(drawn, 2, 2)
            failed = replace(record, outcome=None, failure=Failure("failed", text, text))
            named = replace(failed, settings=replace(record.settings, method=text, backbone=text))
            with shown.live():
                shown.start(named)
                shown.on_epoch(named, 1)
                label = shown.bars.columns[0].render(shown.bars.tasks[-1])
                assert for_terminal(text) in label.plain
                shown.retry(named)
                shown.finish(named)
            progress.Reporter(drawn).announce(text)
            bars = TransferProgress(drawn)
            with bars.live():
                bars.on_bytes(text, 1, 2)
                bars.on_bytes(text, 2, 2)
        out = drawn.export_text()
        assert not list(hostile.in_terminal(out))
        if text.startswith("[red]"):
            assert text in out.replace("\n", "")


def test_a_warning_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    text = streams._format_warning(UserWarning(TITLE), UserWarning, ODD, 1)
    assert not list(hostile.in_terminal(text))
    assert warnings.formatwarning(UserWarning(TITLE), UserWarning, "f", 1) != text


def test_a_traceback_s_message_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    error = ValueError(TEXTS["escape sequence"])
    streams._print_exception(ValueError, error, None)
    err = capsys.readouterr().err
    assert err.startswith("ValueError: \\x1b[31mPWN")
    assert not list(hostile.in_terminal(err))
