"""How many cores are ours, and how many threads a worker has."""

# MERGED bench.utils.parallel: """Work on the next images while the last ones are written."""
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar


def available_cores() -> int:
    """The cores that are ours to use."""
    ours = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(ours(0)) if ours else os.cpu_count() or 1


def omp_env(threads: int) -> dict[str, str]:
    """What gives a worker so many threads, where the user's own environment does not say."""
    return {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}


THREADS = min(8, os.cpu_count() or 1)
QUEUE_PER_THREAD = 4  # items for each
A = TypeVar("A")
B = TypeVar("B")


def threaded_map(work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """``map(work, items)`` in threads; what waits is a few items for each processor."""
    waiting: deque[Future[B]] = deque()
    pool = ThreadPoolExecutor(THREADS)
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > QUEUE_PER_THREAD * THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)  # an error or Ctrl-C does not wait for those ahead
