"""Command lines made of the commands' own options, with fitting and with odd values."""

import argparse
import os
from collections.abc import Iterator, Sequence
from functools import cache

from hypothesis import strategies as st

from bench.cli import main
from bench.cli.parsing import Parser
from support.fuzzing import odd

NOT_FUZZED = {"worker"}  # it speaks with `run` by standard input alone
# that these never stop, or start what costs hours, is by design
NEVER = {"status": ("--watch",), "run": ("--force",), "tune": ("--force",)}
ALWAYS = {"run": ("--dry-run",), "tune": ("--dry-run",)}

PATHS = (
    "results",
    "new",
    "empty",
    "file.txt",
    "a/b/c",
    ".",
    *(f"kinds/{k}" for k in odd.FILE_KINDS),
)
PLUGINS = ("plugins/good.py", "plugins/syntax.py", "plugins/raises.py", "plugins/exits.py")
FITTING: dict[str, tuple[str, ...]] = {
    "results": PATHS,
    "data_root": ("cards/data", *PATHS),
    "suite": ("cards/tiny.toml", "mini", "vtab1k", "cards/suite.toml", "file.txt", "kinds/fifo"),
    "suites": ("vtab1k,fgvc", "cards/suite.toml", "mini,mini"),
    "methods": ("linear", "linear,lora", "vpt_deep", "full,full", "spt_deep"),
    "backbones": (
        "cards/small.toml",
        "vit_mini_mae",
        "vit_mini_mae@file.txt",
        "vit_base_patch16_224",
    ),
    "tasks": ("light", "digits", "light,dark", "cub"),
    "seeds": ("0", "0,1,2", "4294967295", "0,0"),
    "recipe": ("quick", "cards/short.toml", "unified", "spt2024"),
    "changes": (
        "epochs=2",
        "lr=1e-3",
        "backbone.pooling=avg",
        "rank=4",
        "views.default.train=squash",
    ),
    "study": ("cards/own.toml", "spt2024/fig2", "spt2024/control"),
    "plugins": PLUGINS,
    "papers": ("spt2024", "all", "vpt2022,gatevpt2023"),
    "paths": PATHS,
    "path": ("copy", "copy.zip", *PATHS),
    "cell": ("0", "{cell}", "{record}", *PATHS),
    "first": ("0", "{cell}", "{record}", *PATHS),
    "second": ("0", "{cell}", "{record}", *PATHS),
    "record": ("{record}", *PATHS),
    "format": ("csv", "latex", "parquet"),
    "out": PATHS,
    "merged": PATHS,
    "images": ("copy/cifar/images", *PATHS),
    "name": ("linear", "lora", "vpt_deep"),
    "device": ("cpu", "cuda", "cuda:9", "meta", "mps", "cpu:1"),
    "slurm": ("partition=x", "--time=1", "=", "a"),
    "accept_license": ("light", "imagenet1k"),
    "timeout": ("1", "0.5", "1e400", "nan", "-1"),
}
WRITTEN = {"results", "out", "merged", "data_root"}  # odd names for these stay in the folder
NUMBERS = (
    "0",
    "1",
    "2",
    "-1",
    "1.5",
    "1e3",
    "9" * 30,
    "9" * 5_000,
    "nan",
    "inf",
    "",
    "٣",
    "²",
    " 1",
)
STRAY = ("--", "-", "--unknown", "-x", "@file.txt", "--help", "-h", "=", "--=", "--debug", "—")


@cache
def actions(command: str) -> list[argparse.Action]:
    """The options and positional arguments of a command, or of one of its own: ``data check``."""
    name, _, below = command.partition(" ")
    parser = Parser()
    main.load_command(main.command_files()[name]).add_options(parser)
    if below:
        [group] = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        parser = group.choices[below]
    return [action for action in parser._actions if action.dest != "help"]


@cache
def commands() -> list[str]:
    """Every command, and every one of a command's own."""
    found = []
    for name, path in main.command_files().items():
        own = getattr(main.load_command(path), "SUBCOMMANDS", ())
        found += [f"{name} {below}" for below in own] or [name]
    return [name for name in found if name not in NOT_FUZZED]


def _can_be_an_argument(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


texts = st.one_of(odd.json_names, st.sampled_from(NUMBERS)).filter(_can_be_an_argument)
inside = texts.filter(
    lambda text: ".." not in text and not os.path.isabs(text) and not text.startswith("~")
)


def values(action: argparse.Action) -> st.SearchStrategy[str]:
    """Fitting and odd values of an option."""
    odd_ones = inside if action.dest in WRITTEN else texts
    fitting = FITTING.get(action.dest) or tuple(map(str, action.choices or ())) or NUMBERS
    return st.one_of(st.sampled_from(fitting), st.sampled_from(fitting), odd_ones)


@st.composite
def words(draw: st.DrawFn, command: str) -> list[str]:
    """A command with some of its options."""
    known = [a for a in actions(command) if not set(a.option_strings) & set(NEVER.get(command, ()))]
    options = [action for action in known if action.option_strings]
    chosen = draw(st.lists(st.sampled_from(options), max_size=5)) if options else []
    needed = [action for action in options if action.required and draw(st.integers(0, 7))]
    places = [action for action in known if not action.option_strings]
    parts = [draw(_spelt(action)) for action in (*chosen, *needed)]
    parts += [[draw(values(action))] for action in places if draw(st.integers(0, 7))]
    if draw(st.integers(0, 9)) == 0:
        parts.append([draw(st.one_of(st.sampled_from(STRAY), texts))])
    shuffled = draw(st.permutations(parts))
    rest = [word for part in shuffled for word in part]
    allowed = [word for word in rest if not _is_never(command, word)]
    return [*command.split(), *ALWAYS.get(command, ()), *allowed]


def _is_never(command: str, word: str) -> bool:
    """Whether a word is an option that is never tried, or short for it."""
    return len(word) > 2 and any(name.startswith(word) for name in NEVER.get(command, ()))


@st.composite
def _spelt(draw: st.DrawFn, action: argparse.Action) -> list[str]:
    """An option and its value, spelt in one of the ways that there are."""
    name = draw(st.sampled_from(action.option_strings))
    if draw(st.integers(0, 7)) == 0:
        name = name[: draw(st.integers(3, len(name)))]
    if action.nargs == 0:
        return [draw(st.sampled_from((name, name, name, f"{name}=1")))]
    value = draw(values(action))
    ways: Sequence[list[str]] = ([name, value], [name, value], [f"{name}={value}"], [name])
    return draw(st.sampled_from(ways))


def filled(given: Sequence[str], cell: str, record: str) -> Iterator[str]:
    """The words with a cell's name and its record's file in the places that ask for them."""
    return (word.replace("{cell}", cell).replace("{record}", record) for word in given)
