"""The types of the entries of cards and requests: names, texts, and numbers within bounds.

Every number has a range, so that no card makes a plan without end, and what a record could not
hold is refused when the card is read.
"""

import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from bench.utils.names import (
    BACKBONE_NAME,
    MAX_CLASSES,
    MAX_EPOCHS,
    MAX_SEED,
    NAME,
    name_problem,
    shorten,
)

MAX_LINE, MAX_TEXT = 1_000, 20_000  # characters
MAX_COUNT = 10**15  # of images or bytes: more than there are
MAX_BATCH = 1_000_000
MAX_RATE = 1e18  # of a rate that diverges on purpose, too; a record holds numbers of 64 bits
MAX_SIDE = 10_000  # pixels of an input, or channels
MAX_STAGES = 20  # of a network, each with a size of its own
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # halves of characters, too


def whole(least: int, most: int) -> BeforeValidator:
    """Return the check of a whole number; neither texts nor truth values are numbers."""

    def check(value: Any) -> int:
        if type(value) is int and least <= value <= most:
            return value
        wanted = f"a whole number from {least:,} to {most:,}"
        raise ValueError(f"{wanted} was expected; {shorten(value)} was given")

    return BeforeValidator(check)


def real(least: float, most: float, is_above: bool = False) -> BeforeValidator:
    """Return the check of a finite number; `is_above`: the least is not one of them."""

    def check(value: Any) -> float:
        is_number = type(value) in (int, float) and least <= value <= most
        if is_number and not (is_above and value == least):
            return float(value)
        above, within = f"a number above {least:g}, up to {most:g},", f"a number from {least:g}"
        wanted = above if is_above else f"{within} to {most:g}"
        raise ValueError(f"{wanted} was expected; {shorten(value)} was given")

    return BeforeValidator(check)


def _check_flag(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise ValueError(f"true or false was expected; {shorten(value)} was given")


def _check_argument(value: Any) -> int | float | list[int | float]:
    """Return an argument of a model's constructor: a size, a count, a ratio, or a flag as 0 or 1.

    Or a list of these, one for each stage.
    """
    listed = value if isinstance(value, list | tuple) else [value]
    if len(listed) <= MAX_STAGES and all(map(_is_argument, listed)):
        numbers = [int(one) if one == int(one) else one for one in listed]
        return numbers if listed is value else numbers[0]
    wanted = f"a number from 0 to {MAX_SIDE:,}, true or false, or a list of {MAX_STAGES} at most"
    raise ValueError(f"{wanted} was expected; {shorten(value)} was given")


def _is_argument(value: Any) -> bool:
    return type(value) in (bool, int, float) and 0 <= value <= MAX_SIDE


def _check_pixels(sides: list[int]) -> list[int]:
    """Check the height and width of an image, which a card may leave out."""
    if len(sides) not in (0, 2):
        raise ValueError(f"a height and a width were expected; {shorten(sides)} was given")
    return sides


def _named(pattern: re.Pattern[str]) -> AfterValidator:
    """Return the check of a name that paths and tables are made of."""

    def check(name: str) -> str:
        if problem := name_problem(name, pattern):
            raise ValueError(problem)
        return name

    return AfterValidator(check)


def _text(pattern: re.Pattern[str] | None, most: int) -> AfterValidator:
    """Return the check of a text of some length, without what the pattern finds."""

    def check(text: str) -> str:
        if len(text) > most:
            raise ValueError(f"{most:,} characters were expected at most; it has {len(text):,}")
        if pattern and pattern.search(text):
            raise ValueError(f"one line was expected; {shorten(text)} was given")
        return text

    return AfterValidator(check)


def _check_given(name: str) -> str:
    """Refuse a name that is empty, or that a command line would take for an option."""
    if not name or name.startswith("-"):
        raise ValueError(f"a name or a path was expected; {name!r} was given")
    return name


def check_inner_path(path: str) -> str:
    """Refuse a path that leads out of the folder that it is relative to."""
    is_elsewhere = PurePosixPath(path).is_absolute() or PureWindowsPath(path).anchor
    if is_elsewhere or ".." in PureWindowsPath(path).parts:
        raise ValueError(f"a path inside its folder, without .., was expected; got {path!r}")
    return path


def check_plain(value: Any, depth: int = 0) -> Any:
    """Return a value that a record can hold: a line, a finite number, or tables and lists of these.

    Raises `ValueError` for another.
    """
    if isinstance(value, str):
        if len(value) > MAX_LINE or CONTROL.search(value):
            raise ValueError(f"a line of at most {MAX_LINE:,} characters was expected")
    elif isinstance(value, dict | list | tuple):
        if depth == MAX_PLAIN_DEPTH:
            raise ValueError(f"tables and lists may be {MAX_PLAIN_DEPTH} deep")
        for one in [*value, *value.values()] if isinstance(value, dict) else value:
            check_plain(one, depth + 1)
    elif isinstance(value, int | float):
        if not abs(value) < MAX_PLAIN:
            raise ValueError(f"a finite number of 64 bits was expected; {shorten(value)} was given")
    elif value is not None:
        raise ValueError(f"a {type(value).__name__} cannot be recorded")
    return value


MAX_PLAIN_DEPTH = 5
MAX_PLAIN = 2**63

Flag = Annotated[bool, BeforeValidator(_check_flag)]
Name = Annotated[str, _named(NAME)]
BackboneName = Annotated[str, _named(BACKBONE_NAME)]
Line = Annotated[str, _text(CONTROL, MAX_LINE)]
NameOrPath = Annotated[str, _text(CONTROL, 4_096)]
Given = Annotated[NameOrPath, AfterValidator(_check_given)]  # on a command line, or as there
Text = Annotated[str, _text(None, MAX_TEXT)]
InnerPath = Annotated[NameOrPath, AfterValidator(check_inner_path)]
Plain = Annotated[Any, AfterValidator(check_plain)]

Version = Annotated[int, whole(0, 10**6)]
Classes = Annotated[int, whole(1, MAX_CLASSES)]
Seed = Annotated[int, whole(0, MAX_SEED)]
Epochs = Annotated[int, whole(1, MAX_EPOCHS)]
EpochsOrNone = Annotated[int, whole(0, MAX_EPOCHS)]
Batch = Annotated[int, whole(1, MAX_BATCH)]
BatchOrNone = Annotated[int, whole(0, MAX_BATCH)]
Count = Annotated[int, whole(0, MAX_COUNT)]
Whole = Annotated[int, whole(-MAX_COUNT, MAX_COUNT)]
Side = Annotated[int, whole(0, MAX_SIDE)]
Pixels = Annotated[list[Annotated[int, whole(1, MAX_SIDE)]], AfterValidator(_check_pixels)]
Argument = Annotated[int | float | list[int | float], BeforeValidator(_check_argument)]
Percent = Annotated[float, real(0, 100)]
WholePercent = Annotated[int, whole(0, 100)]
Rate = Annotated[float, real(0, MAX_RATE)]
RateAbove = Annotated[float, real(0, MAX_RATE, is_above=True)]
Share = Annotated[float, real(0, 1, is_above=True)]
Real = Annotated[float, real(-1e15, 1e15)]
