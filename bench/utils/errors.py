"""Errors that are the user's to mend: one sentence, exit status 2."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """What was given, what was expected, what is near."""


def first_line(error: Exception) -> str:
    """What an error says, without what many libraries add below."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def unknown_name(kind: str, given: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not known, naming near ones or, failing those, all.

    >>> raise unknown("method", "vtp_deep", ["vpt_deep", "linear"])
    Traceback (most recent call last):
    bench.utils.errors.UserError: no method 'vtp_deep'; did you mean vpt_deep?
    """
    choices = sorted(known)
    near = get_close_matches(given, choices, n=3)
    hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(choices)}"
    return UserError(f"no {kind} {given!r}; {hint}")
