"""JSON of strangers: no repeated keys, no numbers that are not finite, no endless nesting."""

import json
import math
from typing import Any


class NotJson(ValueError):
    """Text that is not JSON as it is accepted here; the message says why."""


def parse(text: str) -> Any:
    """Parse a JSON text; raise `NotJson` for one that is broken or ambiguous."""
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_constant=_finite, parse_float=_finite
        )
    except NotJson:
        raise
    except RecursionError:
        raise NotJson("it is nested too deeply") from None
    except ValueError as error:  # a broken text, or a number of thousands of digits
        raise NotJson(str(error)) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        again = next(key for key in found if keys.count(key) > 1)
        raise NotJson(f"the key {again!r} stands there twice")
    return found


def _finite(word: str) -> float:
    number = float(word)
    if not math.isfinite(number):
        raise NotJson(f"{word} is not a finite number")
    return number
