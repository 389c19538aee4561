"""What the end of a process that ran a cell means, as the cell's failure."""

import signal

from bench.records import Failure


def failure(process: str, status: int, said: str = "") -> Failure:
    """Of a process, named so, that ended with this status; below 0: the signal that killed it.

    `said` is the last of what it printed.
    """
    if status >= 0:
        return Failure("failed", "Exited", f"{process} ended with status {status}", said)
    name = signal.Signals(-status).name
    hint = ", as when memory runs out" if name == "SIGKILL" else ""
    return Failure("failed", "Killed", f"{process} was killed by {name}{hint}", said)
