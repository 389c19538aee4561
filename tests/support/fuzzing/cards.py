"""A sandbox of cards over tiny data, and mutations of one of them."""

import os
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from support import study_cards, suite_copies, tiny
from support.fuzzing import odd
from support.fuzzing.sandbox import Sandbox, fresh_sandbox
from support.fuzzing.trees import mutated, mutated_alike, to_toml, tree_of

# what a card is -> its file, and the options that name it
KINDS = {
    "suite": ("tiny.toml", "--suite"),
    "suite of sources": ("suite.toml", "--suite"),
    "source": ("light.toml", ""),
    "recipe": ("short.toml", "--recipe"),
    "backbone": ("small.toml", "--backbones"),
    "study": ("own.toml", "--study"),
}
DRY = ("--dry-run", "--device", "cpu", "--results", "results", "--data-root", "cards/data")
ON_DISK = ("--data-root", "cards/data")
SUITE_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("run", *DRY),
    ("tune", *DRY),
    ("status", "--results", "results", *ON_DISK),
    ("list", "tasks"),
    ("data", "status", *ON_DISK),
    ("data", "check", *ON_DISK),
    ("data", "prepare", *ON_DISK),
)
DRY_COMMANDS: tuple[tuple[str, ...], ...] = (("run", *DRY), ("tune", *DRY))
STUDY_COMMANDS = (("run", *DRY), ("run", "--quick", *DRY), ("status", "--results", "results"))


def make_template(folder: Path) -> Path:
    """Write valid cards of every kind, their data, and a copy in NOAH's layout, below a folder."""
    folder.mkdir(parents=True)
    before = Path.cwd()
    os.chdir(folder)  # the cards name each other by relative paths
    try:
        cards = Path("cards")
        cards.mkdir()
        study_cards.write_cards(cards)
        study_cards.study_card(cards)
        suite_copies.suite(cards)
        suite_copies.write_noah(Path("copy"))
        suite_copies.zipped(Path("copy"), Path("copy.zip"))
    finally:
        os.chdir(before)
    return folder


@contextmanager
def sandbox_of(template: Path, parent: Path) -> Iterator[Sandbox]:
    """A sandbox with the template's files in the command's folder, as links to the same bytes."""
    with fresh_sandbox(parent) as sandbox:
        shutil.copytree(template, sandbox.work, copy_function=os.link, dirs_exist_ok=True)
        yield sandbox


@dataclass(frozen=True)
class OddCard:
    """A card of a kind, what is in its file, and the command that reads it."""

    kind: str
    content: bytes | str  # text: one of `odd.FILE_KINDS`
    words: tuple[str, ...]

    def write(self, sandbox: Sandbox) -> None:
        odd.put(sandbox.cards / KINDS[self.kind][0], self.content, sandbox.outside)


@st.composite
def odd_cards(draw: st.DrawFn, template: Path) -> OddCard:
    """A card with something odd about it, and a command."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    name, option = KINDS[kind]
    text = (template / "cards" / name).read_text(encoding="utf-8")
    valid = tree_of(tomllib.loads(text))
    trees = mutated(valid, odd.toml_values, odd.names), mutated_alike(valid, odd.names)
    tree = draw(st.one_of(trees))
    content: Any = to_toml(tree).encode("utf-8", "surrogatepass")
    how = draw(st.integers(0, 9))
    if how == 0:
        content = draw(odd.damaged(content))
    elif how == 1:
        content = draw(odd.file_kinds)
    return OddCard(kind, content, (*_command(draw, kind), *_naming(kind, option, name)))


def _command(draw: st.DrawFn, kind: str) -> tuple[str, ...]:
    known = {"recipe": DRY_COMMANDS, "backbone": DRY_COMMANDS, "study": STUDY_COMMANDS}
    return draw(st.sampled_from(known.get(kind, SUITE_COMMANDS)))


def _naming(kind: str, option: str, name: str) -> tuple[str, ...]:
    """The options that name a card, and a valid suite where it is none."""
    if kind == "source":
        return "--suite", "cards/suite.toml"
    suite = ("--suite", "cards/tiny.toml") if kind in ("recipe", "backbone") else ()
    return (*suite, option, f"cards/{name}")


def tiny_images() -> list[str]:
    """The lines of a valid list."""
    return [f"images/train/{i}.png {i % 2}" for i in range(36)]


def image_path(sandbox: Sandbox, number: int) -> Path:
    """A training image of the tiny suite."""
    return sandbox.cards / "data" / "light" / "images" / "train" / f"{number}.png"


def tiny_options() -> tuple[str, ...]:
    return "--suite", "cards/tiny.toml"


SIDE = tiny.SIDE
