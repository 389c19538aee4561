"""Strict parsing of JSON that a stranger may have written.

No object has a key twice, numbers are finite, and nesting is limited. Plain `json` keeps the last
of two equal keys, and reads NaN.
"""

import json
from collections import Counter
from math import isfinite
from typing import Any

from bench.utils.names import shorten

MAX_ENTRIES = 2**17  # of an object; an accuracy of each epoch of the longest recipe fits


def parse(text: str | bytes) -> Any:
    """Parse UTF-8 JSON strictly; raises `ValueError` with one line for any violation.

    Numbers of more digits than Python converts are among them.
    """
    try:
        return _decoder.decode(text.decode("utf-8") if isinstance(text, bytes) else text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _unique_entries(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the entry {shorten(twice)} is listed twice")
    if len(found) > MAX_ENTRIES:
        raise ValueError(
            f"an object has {len(found):,} entries; at most {MAX_ENTRIES:,} are allowed"
        )
    return found


def _finite(word: str) -> float:
    number = float(word)
    if not isfinite(number):
        raise ValueError(f"{shorten(word)} is not a finite number")
    return number


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


_decoder = json.JSONDecoder(
    object_pairs_hook=_unique_entries, parse_constant=_refuse_constant, parse_float=_finite
)
