"""Errors that the user can fix: one sentence, exit status 2."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Bad input: the message says what was given, what was expected, and what is near."""


def first_line(error: Exception) -> str:
    """Return the first line of an error's message; many libraries add more below it."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def unknown_name(kind: str, given: str, known: Iterable[str]) -> UserError:
    """Return the error for an unknown name: it suggests near ones or, failing those, lists all.

    >>> raise unknown_name("method", "vtp_deep", ["vpt_deep", "linear"])
    Traceback (most recent call last):
    bench.utils.errors.UserError: no method 'vtp_deep'; did you mean vpt_deep?
    """
    choices = sorted(known)
    near = get_close_matches(given, choices, n=3)
    hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(choices)}"
    return UserError(f"no {kind} {given!r}; {hint}")
