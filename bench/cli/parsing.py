"""The parser of the command line, with groups of options, and the types of options' values."""

import argparse
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from bench.cli.common import BAD_INPUT, print_error
from bench.utils import names as limits
from bench.utils import toml


class Parser(argparse.ArgumentParser):
    """A parser that complains in one sentence, and keeps its groups by title."""

    def __init__(self, *args: Any, **named: Any):
        super().__init__(*args, **named)
        self.groups: dict[str, argparse._ArgumentGroup] = {}

    def group(self, title: str) -> "argparse._ArgumentGroup":
        """Return the group of options with this title."""
        if title not in self.groups:
            self.groups[title] = self.add_argument_group(title)
        return self.groups[title]

    def error(self, message: str) -> NoReturn:
        print_error(f"{message}; see {self.prog} --help", BAD_INPUT)
        self.exit(BAD_INPUT)


def names(kind: str) -> Callable[[str], list[str]]:
    """Return the type of an option that takes names, with commas between them."""

    def parse(text: str) -> list[str]:
        found = [name.strip() for name in text.split(",") if name.strip()]
        if not found:
            raise argparse.ArgumentTypeError(f"{limits.shorten(text)} names no {kind}")
        return found

    return parse


def whole(least: int, most: int = 10**9) -> Callable[[str], int]:
    """Return the type of an option that takes a whole number from `least` to `most`."""

    def parse(text: str) -> int:
        value = _parse_whole(text)
        if value is None or not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"a whole number from {least} to {most:,} was expected, got {limits.shorten(text)}"
            )
        return value

    return parse


def seeds(text: str) -> list[int]:
    found = [_parse_whole(name) for name in names("seed")(text)]
    if any(seed is None or seed > limits.MAX_SEED for seed in found):
        raise argparse.ArgumentTypeError(
            f"seeds are whole numbers below 2^32, as in 0,1,2; got {limits.shorten(text)}"
        )
    return [seed for seed in found if seed is not None]


def _parse_whole(text: str) -> int | None:
    """Return a whole number in decimal digits, of some length; None for anything else."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def change(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"expected FIELD=VALUE, got {limits.shorten(text)}")
    try:
        return name, toml.parse_value(value)
    except toml.NotToml as error:
        raise argparse.ArgumentTypeError(f"{limits.shorten(name)}: {error}") from None


def sbatch_option(text: str) -> tuple[str, str]:
    name, equals, value = text.strip("-").partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"expected OPTION=VALUE, got {limits.shorten(text)}")
    return name.replace("-", "_"), value


def seconds(text: str) -> float:
    if found := seconds_or_0(text):
        return found
    shown = limits.shorten(text)
    raise argparse.ArgumentTypeError(f"more than 0 seconds were expected, got {shown}")


def seconds_or_0(text: str) -> float:
    with suppress(ValueError):
        if text.isascii() and 0 <= float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(
        f"a number of seconds was expected, got {limits.shorten(text)}"
    )
