"""How many examples a property is tried on, under each of the two profiles."""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import settings

PROFILE = os.environ.get("FUZZ_PROFILE", "short")


def examples(short: int, long: int) -> Callable[[Any], Any]:
    """Settings for a property: that many examples in CI, and in the long run."""
    return settings(max_examples=long if PROFILE == "long" else short)
