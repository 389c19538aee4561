"""Names used in paths, tables and records, and bounds of numbers.

Cards, requests and plug-ins are held to them before any compute, and records when they are read:
what could not be recorded is not run.
"""

import re

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")  # of a suite, task, method, recipe or source
# also NAME@FILE, with the stem of a weights file, and NAME[mean=[0.1, 0.2, 0.3], pooling=avg]
BACKBONE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@=,+ \[\]-]{0,199}")
MAX_SEED = 2**32 - 1  # numpy's generators take no larger one
MAX_CLASSES = 2**15  # predicted classes are stored as int16
MAX_EPOCHS = 100_000
SHOWN = 60  # characters of a value that a message shows


def name_problem(name: object, pattern: re.Pattern[str] = NAME) -> str:
    """Return the problem with a name, as a clause; empty if there is none.

    >>> name_problem("../x")
    "'../x' is no name: letters, digits, _, . and - were expected, 1 to 100, and no . or - first"
    """
    if isinstance(name, str) and pattern.fullmatch(name):
        return ""
    also, most = (", spaces and @ = , + [ ]", 200) if pattern is BACKBONE_NAME else ("", 100)
    return (
        f"{shorten(name)} is no name: letters, digits, _, . and -{also} were expected, "
        f"1 to {most}, and no . or - first"
    )


def shorten(value: object) -> str:
    """Return a value as a message shows it, cut where it is long.

    >>> shorten("x" * 1000)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ... (1,002 characters)"
    """
    if isinstance(value, int) and abs(value) > 10**SHOWN:  # to print it may be refused, or slow
        return f"a number of {value.bit_length():,} bits"
    try:
        text = ascii(value)
    except (ValueError, RecursionError):  # it holds such a number, or is nested very deeply
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ... ({len(text):,} characters)"
