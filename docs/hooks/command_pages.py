"""The reference of commands and options, from the parsers of the command line."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from bench.cli import main
from bench.cli.parsing import Parser

HEADER = """\
# Commands and options

Every command of `python -m bench`, as `python -m bench COMMAND --help` prints it. The exit status
is 0 for success, 1 if something failed (a cell, a check), 2 for bad input, which is reported before
any compute, and 130 after Ctrl-C. Every command also has `--help` and `--debug`, which shows the
traceback of an error.
"""


def markdown_page() -> str:
    """Return the page: a section for each command."""
    sections = (section(name, path) for name, path in main.command_files().items())
    return "\n".join([HEADER, *sections])


def section(name: str, path: Path) -> str:
    """Return the section of a command: what it does, examples, its options by group."""
    command, sentence = main.load_command(path), main.help_line(path)
    parser = Parser(prog=f"python -m bench {name}", add_help=False)
    command.add_options(parser)
    examples = "\n".join(f"python -m bench {line}" for line in command.EXAMPLES)
    lines = [f"## {name}", "", f"{sentence[0].upper()}{sentence[1:]}.", ""]
    return "\n".join([*lines, f"```bash\n{examples}\n```", "", *group_lines(parser, name)])


def group_lines(parser: argparse.ArgumentParser, name: str) -> Iterator[str]:
    """Yield the options of a parser by group, then its subcommands with theirs."""
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if is_shown(action)]
        if actions and group.title not in ("options", "positional arguments"):
            yield f"**{str(group.title).capitalize()}**\n"
        for action in actions:
            yield definition(action, parser)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for own_name, own in action.choices.items():
                yield f"### {name} {own_name}\n\n{own.description}\n"
                yield from group_lines(own, f"{name} {own_name}")


def is_shown(action: argparse.Action) -> bool:
    """Return whether an option is one of the command's own."""
    own = action.help != argparse.SUPPRESS and action.dest not in ("help", "debug")
    return own and not isinstance(action, argparse._SubParsersAction)


def definition(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """Return an option or argument, and its help, as an entry of a definition list."""
    values = "" if action.nargs == 0 else value_name(action)
    invocation = " ".join(filter(None, [", ".join(action.option_strings), values]))
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    return f"`{invocation}`\n:   {text.replace('<', '&lt;')}\n"


def value_name(action: argparse.Action) -> str:
    """Return how an option's value is written: its metavar or its choices."""
    named = action.metavar or ("|".join(map(str, action.choices or ())) or action.dest)
    shown = str(named if isinstance(named, str) else " ".join(named))
    if action.option_strings and not (action.metavar or action.choices):
        shown = shown.upper()
    optional = "" if action.option_strings or action.nargs not in ("?", "*") else "[]"
    many = " ..." if action.nargs in ("*", "+") else ""
    return f"[{shown}]{many}" if optional else f"{shown}{many}"
