"""Errors that the user can fix: one sentence, exit status 2."""

from collections.abc import Iterable
from difflib import get_close_matches

MAX_SHOWN = 200  # characters of a name that was given
MAX_LISTED = 200  # names that are there: all of the project's own methods
MAX_COMPARED = 10_000  # names that a misspelt one is compared with: a second, at most


class UserError(Exception):
    """Bad input: the message says what was given, what was expected, and what is near."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message; many libraries add more below it."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def reason(error: BaseException) -> str:
    """Return why a file cannot be used: the system's words, or else the error's first line."""
    return getattr(error, "strerror", None) or first_line(error)


def unknown_name(kind: str, given: str, known: Iterable[str], instead: str = "") -> UserError:
    """Return the error for an unknown name: it suggests near ones or, failing those, lists all.

    Of names by the hundred, the clause `instead` says where they are listed.

    >>> raise unknown_name("method", "vtp_deep", ["vpt_deep", "linear"])
    Traceback (most recent call last):
    bench.utils.errors.UserError: no method 'vtp_deep'; did you mean vpt_deep?
    """
    choices = sorted(set(known))
    near = get_close_matches(given[:MAX_SHOWN], choices[:MAX_COMPARED], n=3)
    more = f" and {len(choices) - MAX_LISTED:,} more" if len(choices) > MAX_LISTED else ""
    listed = f"there are {', '.join(choices[:MAX_LISTED])}{more}"
    hint = f"did you mean {', '.join(near)}?" if near else instead or listed
    shown = repr(given) if len(given) <= MAX_SHOWN else f"{given[:MAX_SHOWN]!r} ..."
    return UserError(f"no {kind} {shown}; {hint}")
