"""Interrupts: put off while a process is started, and kept from child processes."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread

PASSED_ON = {signal.SIGINT, signal.SIGHUP}  # a terminal sends them to all processes of a command
INTERRUPTS = PASSED_ON | {signal.SIGTERM}


@contextmanager
def put_off() -> Iterator[None]:
    """Within it, an interrupt of the main thread waits: what is being started would be lost."""
    if current_thread() is not main_thread():
        yield
        return
    caught: list[int] = []
    handled = [number for number in INTERRUPTS if callable(signal.getsignal(number))]
    former = {one: signal.signal(one, lambda number, _: caught.append(number)) for one in handled}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        if caught:
            signal.raise_signal(caught[0])


@contextmanager
def kept_from_children() -> Iterator[None]:
    """Put interrupts off; processes started within never get one, as their parent ends them."""
    with put_off():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # which a child inherits
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
