"""Work on the next images while the last ones are written."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

THREADS = min(8, os.cpu_count() or 1)
WAITING = 4  # items for each
A = TypeVar("A")
B = TypeVar("B")


def ahead(work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """``map(work, items)`` in threads; what waits is a few items for each processor."""
    waiting: deque[Future[B]] = deque()
    pool = ThreadPoolExecutor(THREADS)
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > WAITING * THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)  # an error or Ctrl-C does not wait for those ahead
