"""A guard against calls that never return, as that of opening a FIFO."""

import threading
from collections.abc import Callable
from typing import TypeVar

SECONDS = 60.0  # far beyond what any of these calls takes on a busy machine
T = TypeVar("T")


def in_time(call: Callable[[], T], seconds: float = SECONDS) -> T:
    """Return or raise as a call does; fail where it does neither for so long."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)  # one that waits does not hold the process
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"it did not return within {seconds:.0f} seconds"
    if errors:
        raise errors[0]
    return results[0]
