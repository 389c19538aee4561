"""How much memory is free, and what is said when something does not fit into it."""

from pathlib import Path

import torch


class SpillWarning(UserWarning):
    """What does not fit where it is computed lies elsewhere."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether it is memory that an error is about, wherever it ran out."""
    kinds = torch.OutOfMemoryError | MemoryError
    return isinstance(error, kinds) or "can't allocate" in str(error)


def free_memory(device: torch.device) -> float:
    """The bytes that are free on a device; without end where nothing tells."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()  # Linux alone has it
    except OSError:
        return float("inf")
    known = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return min(int(known["MemAvailable"].split()[0]) * 2**10, _cgroup_free_memory())


def _cgroup_free_memory() -> float:
    """The bytes that this process's container may still take; caches of files can be dropped."""
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = ((group / name).read_text() for name in ("memory.max", "memory.current"))
        kept = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except OSError:
        return float("inf")
    return float("inf") if limit.startswith("max") else int(limit) - int(used) + int(kept["file"])
