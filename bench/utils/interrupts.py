"""Interrupts: kept from child processes, which whoever started them ends in its own way."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

PASSED_ON = {signal.SIGINT, signal.SIGHUP}  # a terminal sends them to all processes of a command


@contextmanager
def kept_from_children() -> Iterator[None]:
    """Within it, start processes that never get an interrupt; this one gets it at the end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # which a child inherits
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
