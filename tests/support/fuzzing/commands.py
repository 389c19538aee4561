"""Commands run in this process, and the properties that every one must have."""

import io
import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.cli import main
from bench.utils.errors import UserError
from methods.shared import registry
from support.fuzzing import counts, watching
from support.fuzzing.sandbox import SECRET, Sandbox, holders_of_secret, snapshot

STATUSES = (0, 1, 2, 130)
# C0 but for line ends and tabs, DEL and C1; marks that turn the direction of text around
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    words: tuple[str, ...]
    status: object
    out: str
    err: str
    error: BaseException | None = None  # that left `main`

    @property
    def escaped(self) -> str:
        """The traceback of the error."""
        return "".join(traceback.format_exception(self.error)) if self.error else ""

    def __str__(self) -> str:
        shown = " ".join(word if len(word) < 200 else f"{word[:200]}..." for word in self.words)
        return f"{shown!a} ended with {self.status}\n{self.out}\n{self.err}\n{self.escaped}"


def run(
    sandbox: Sandbox, *words: object, named: Sequence[Path] = (), names_paths: bool = False
) -> Ended:
    """Run a command that may change the folders `named` alone; hold it to all properties.

    What it was given may itself name paths, as a card does: they may be read.
    """
    before = snapshot(sandbox.root, named)
    with (
        watching.watched_reads(sandbox.outside) as opened,
        watching.watched_changes(sandbox.root, named) as changed,
    ):
        ended = _call([str(word) for word in words])
    counts.add("commands")
    require_good_end(ended)
    assert not changed, f"{changed}\n{ended}"
    assert names_paths or not opened, f"opened {opened} outside\n{ended}"
    assert snapshot(sandbox.root, named) == before, ended
    assert names_paths or SECRET not in ended.out + ended.err, ended
    leaked = [path for folder in named for path in holders_of_secret(folder)]
    assert not leaked, f"{leaked}\n{ended}"
    return ended


def require_good_end(ended: Ended) -> None:
    """An expected exit status, no traceback, and nothing that a terminal would obey."""
    if isinstance(ended.error, UserError | OSError) and _asks_for_tracebacks(ended.words):
        return
    assert not ended.error, ended
    assert "Traceback (most recent call last)" not in ended.out + ended.err, ended
    assert "cannot be judged" not in ended.out + ended.err, ended  # a check itself has failed
    assert ended.status in STATUSES, ended
    found = CONTROLS.search(ended.out + ended.err)
    assert not found, f"{found} reaches the terminal\n{ended!a}"


def _asks_for_tracebacks(words: Sequence[str]) -> bool:
    return any(len(word) > 3 and "--debug".startswith(word) for word in words)


def _call(words: list[str]) -> Ended:
    # as a terminal's: strict on standard output
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace", write_through=True)
    status: object = None
    left: BaseException | None = None
    with _as_a_process_of_its_own(), redirect_stdout(out), redirect_stderr(err):
        try:
            with watching.bounded_memory(), watching.bounded_time():
                status = main.main(words)
        except SystemExit as error:
            status = 0 if error.code is None else error.code
        except (Exception, watching.Hang) as error:
            left = error
    return Ended(tuple(words), status, _text_of(out), _text_of(err), left)


@contextmanager
def _as_a_process_of_its_own() -> Iterator[None]:
    """Undo the changes that a command makes in its process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_methods", dict(registry._methods))
        yield


def _text_of(stream: io.TextIOWrapper) -> str:
    content = stream.buffer.getvalue()  # type: ignore[attr-defined]
    return content.decode(stream.encoding, "backslashreplace")
