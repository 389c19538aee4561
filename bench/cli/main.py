"""The entry point: finds a command's file, parses its options, and turns errors into statuses."""

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from threading import current_thread, main_thread
from types import ModuleType
from typing import Any

from bench.cli import streams
from bench.utils.errors import UserError

EAGER = (*sys.stdlib_module_names, "bench.cli")  # packages that `lazy_imports` leaves alone
START = """\
Compare PEFT methods for Vision Transformers under one protocol.

A first result, on a CPU and without downloads (minutes):
  python -m bench run --results demo

What there is to compare, and what this machine lacks for it:
  python -m bench list methods
  python -m bench doctor --suite vtab1k --methods lora,vpt_deep

Your own data: docs/how_to/data.md. All commands: python -m bench --help
"""
NOT_COMMANDS = {
    "__init__",
    "common",
    "main",
    "options",
    "parsing",
    "requests",
    "streams",
}


class _LazyModule(ModuleType):
    """A stand-in for a module, which is not in `sys.modules` once `lazy_imports` is over."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or sys.modules.get(self.__name__) is self:  # an import asks
            raise AttributeError(f"{self.__name__!r} is imported lazily: import no name from it")
        return getattr(import_module(self.__name__), name)


class _LazyFinder:
    """Finds modules as the other finders do, and makes stand-ins of them."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if any(name == eager or name.startswith(f"{eager}.") for eager in EAGER):
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in specs if spec), None)
        if spec:
            spec.loader = self  # type: ignore[assignment]
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _LazyModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Execute nothing: the module itself is imported at its first use."""


@contextmanager
def lazy_imports() -> Iterator[None]:
    """Within it, import stand-ins for modules that are not `EAGER` and not imported before."""
    finder = _LazyFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name, module in list(sys.modules.items()):
            if isinstance(module, _LazyModule):
                del sys.modules[name]
                _forget_in_parent(name, module)


def _forget_in_parent(name: str, module: ModuleType) -> None:
    """Take a stand-in away from the real package that it was imported from."""
    package, _, own_name = name.rpartition(".")
    parent = sys.modules.get(package)
    if parent and vars(parent).get(own_name) is module:
        delattr(parent, own_name)


with lazy_imports():
    from bench.cli.common import BAD_INPUT, FAILED, INTERRUPTED, print_error, print_lines
    from bench.cli.options import add_debug
    from bench.cli.parsing import Parser
    from bench.execution import selection


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    words = sys.argv[1:] if argv is None else argv
    if odd := [word for word in words if not _is_text(word)]:
        return print_error(
            f"the argument {odd[0]} is not UTF-8, so no record can store it", BAD_INPUT
        )
    if not words:
        return print_lines(START.splitlines())
    files = command_files()
    chosen = next((word for word in words if not word.startswith("-")), "")
    command = load_command(files[chosen]) if chosen in files else None
    parser = _parser(files, chosen, command)
    if any("\0" in word for word in words):  # no shell hands one on
        parser.error("an argument holds a NUL, which no name of a file or a card does")
    args = parser.parse_args(words)
    assert command, "the parser ends the process where no command is named"
    try:
        _end_as_interrupted()
        _load_plugins(getattr(args, "plugins", []))
        return int(command.run(args))
    except KeyboardInterrupt as error:
        return print_error("; ".join(filter(None, ("interrupted", str(error)))), INTERRUPTED)
    except streams.ReaderGone:
        return 0
    except (UserError, UnicodeEncodeError, OSError) as error:
        if args.debug:
            raise
        if isinstance(error, UserError):
            return print_error(str(error), BAD_INPUT)
        if isinstance(error, UnicodeEncodeError):
            return print_error(_describe_unencodable(error), BAD_INPUT)
        return print_error(str(error), FAILED)  # a full disk, say


def _is_text(word: str) -> bool:
    """Return whether a word of the command line, such as a path, is UTF-8.

    So it may be in a locale of another encoding, too, where it is a text of single bytes.
    """
    try:
        os.fsencode(word).decode("utf-8")
    except UnicodeError:
        return False
    return True


def _describe_unencodable(error: UnicodeEncodeError) -> str:
    """Describe a name that the locale's encoding, or UTF-8, does not have."""
    near = error.object[max(0, error.start - 40) : error.end]
    return (
        f"{near!r} cannot be written in {error.encoding}: a file's name in another encoding "
        "than the locale's? Rename the file, or set PYTHONUTF8=1"
    )


def command_files() -> dict[str, Path]:
    """Return the file of each command, by the command's name."""
    paths = sorted(Path(__file__).parent.glob("*.py"))
    return {path.stem.replace("_", "-"): path for path in paths if path.stem not in NOT_COMMANDS}


def load_command(path: Path) -> ModuleType:
    """Import a command's file, which has `add_options(parser)` and `run(args) -> status`."""
    with lazy_imports():
        return import_module(f"bench.cli.{path.stem}")


def help_line(path: Path) -> str:
    """Return a command's help: the first line of its docstring, read without importing it."""
    sentence = path.read_text(encoding="utf-8").split('"""')[1].partition("\n")[0].rstrip(".")
    return sentence[0].lower() + sentence[1:]


def _parser(
    files: dict[str, Path], chosen: str, command: ModuleType | None
) -> argparse.ArgumentParser:
    """Build the parser of all commands, with the options of the chosen one."""
    parser = Parser(
        prog="python -m bench",
        description="Compare PEFT methods for Vision Transformers.",
        epilog="The options of a command: python -m bench COMMAND --help",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, path in files.items():
        line = help_line(path)
        own = commands.add_parser(
            name,
            help=line,
            description=f"{line[0].upper()}{line[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if command and name == chosen:
            own.epilog = _examples(command)
            command.add_options(own)
            if not hasattr(command, "SUBCOMMANDS"):  # which have it
                add_debug(own)
    return parser


def _examples(command: ModuleType) -> str:
    """Return a command's examples as the end of its help."""
    return "\n".join(["examples:", *(f"  python -m bench {line}" for line in command.EXAMPLES)])


def _load_plugins(files: Sequence[Path]) -> None:
    """Load the user's methods; a file that fails is named on standard error, and the rest works."""
    for problem in selection.load_plugins(files) if files else ():
        print_error(problem, BAD_INPUT)


def _end_as_interrupted() -> None:
    """Let a polite end be cleaned up after: a batch system's before it kills, or a terminal's."""
    if current_thread() is not main_thread():  # no other may say what a signal does
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, signal.default_int_handler)
