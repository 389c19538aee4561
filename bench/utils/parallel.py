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


def requested_threads() -> int:
    """Return the threads of a process that the user's environment asks for, or 1."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # a list: per level
    return max(1, int(first)) if first.isascii() and first.isdecimal() and len(first) < 6 else 1


def omp_env(threads: int, passive: bool = False) -> dict[str, str]:
    """Return a worker's environment variables for `threads`; the user's own settings win.

    Threads that are `passive` sleep while they wait for each other; otherwise they spin.
    """
    wanted = {"OMP_NUM_THREADS": str(threads)} | ({"OMP_WAIT_POLICY": "PASSIVE"} if passive else {})
    return {name: os.environ.get(name, value) for name, value in wanted.items()}


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
