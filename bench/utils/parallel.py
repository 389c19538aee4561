"""CPU cores, OpenMP threads of workers, and a threaded map."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

THREADS = min(8, os.cpu_count() or 1)
QUEUE_PER_THREAD = 4  # items submitted ahead for each thread
A = TypeVar("A")
B = TypeVar("B")


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    ours = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(ours(0)) if ours else os.cpu_count() or 1


def omp_env(threads: int) -> dict[str, str]:
    """Return a worker's environment variables for `threads`; the user's own setting wins."""
    return {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}


def threaded_map(work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """Map in threads, in order, with a bounded number of items in flight."""
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
        pool.shutdown(cancel_futures=True)  # an error or Ctrl-C does not wait for the queue
