"""How many cores are ours, and how many threads a worker has."""

import os


def cores() -> int:
    """The cores that are ours to use."""
    ours = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(ours(0)) if ours else os.cpu_count() or 1


def environment(threads: int) -> dict[str, str]:
    """What gives a worker so many threads, where the user's own environment does not say."""
    return {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
