"""Command lines made of the commands' own options: a table, or a sentence."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.fuzzing import cards, commands, counts, odd, options, records
from support.fuzzing.profiles import examples
from support.fuzzing.sandbox import Sandbox

# what takes minutes, and begins when all that was given has been checked -> what it gives instead
LONG_WORK: dict[str, Any] = {
    "bench.performance.method_cost.measure_costs": [],
    "bench.performance.page.measure_and_write": [],
    "bench.performance.first_steps.measure": "n/a: left out",
    "bench.performance.parameter_counts.markdown_page": "",
    "bench.performance.compatibility_page.markdown_page": "",
    "bench.models.method_checks.run_checks": [],
    "bench.training.pretraining.pretrain": [],
    "bench.data.difficulty.chance_and_neighbour": (0.0, 0.0),
}
PLUGINS = {
    "good": "x = 1",
    "syntax": "def (",
    "raises": "raise ValueError('\\x1b[31mno\\nreally')",
    "exits": "raise SystemExit(7)",
}


@pytest.fixture(autouse=True)
def _no_long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, instead in LONG_WORK.items():
        monkeypatch.setattr(name, lambda *_, instead=instead, **__: instead)


def furnish(sandbox: Sandbox) -> Path:
    """Put in the command's folder what the options can name; return a record's file."""
    for name in sorted(odd.FILE_KINDS):
        odd.put(sandbox.work / "kinds" / name, name, sandbox.outside)
    for name, text in PLUGINS.items():
        odd.put(sandbox.work / "plugins" / f"{name}.py", text.encode(), sandbox.outside)
    (sandbox.work / "file.txt").write_text("a file\n", encoding="utf-8")
    (sandbox.work / "empty").mkdir()
    path = records.sound().write(sandbox.results, sandbox.outside)
    assert path
    return path


@pytest.mark.sample(8)
@pytest.mark.parametrize("command", options.commands())
@given(st.data())
@examples(short=4, long=150)
def test_a_command_with_any_options_ends_with_a_status(sandboxes, template, command, data):
    words = data.draw(options.words(command))
    counts.add("command lines")
    with cards.sandbox_of(template, sandboxes) as sandbox:
        record = furnish(sandbox).relative_to(sandbox.work)
        filled = options.filled(words, records.sound().cell, str(record))
        commands.run(sandbox, *filled, named=[sandbox.work], names_paths=True)


@given(st.lists(st.one_of(st.sampled_from(options.commands()), options.texts), max_size=3))
@examples(short=15, long=500)
def test_words_that_are_no_command_end_with_a_status(sandboxes, template, words):
    counts.add("command lines")
    with cards.sandbox_of(template, sandboxes) as sandbox:
        commands.run(sandbox, *harmless(words), named=[sandbox.work], names_paths=True)


def harmless(words: list[str]) -> Iterator[str]:
    """The words, but for what would train or measure."""
    return (word for word in words if word not in ("run", "tune", "worker"))
