"""Free memory of a device, and the warning and test for running out of it."""

from pathlib import Path

import torch


class SpillWarning(UserWarning):
    """A tensor does not fit on its device and is kept in slower memory."""


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error means that memory ran out, on any device."""
    kinds = torch.OutOfMemoryError | MemoryError
    return isinstance(error, kinds) or "can't allocate" in str(error)


def free_memory(device: torch.device) -> float:
    """Return the free bytes of a device; infinity where they cannot be determined."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()  # Linux only
    except OSError:
        return float("inf")
    known = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return min(int(known["MemAvailable"].split()[0]) * 2**10, _cgroup_free_memory())


def _cgroup_free_memory() -> float:
    """Return the bytes left within the container's limit, counting file caches as free."""
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (
            (group / name).read_text(encoding="utf-8") for name in ("memory.max", "memory.current")
        )
        kept = dict(
            line.split()
            for line in (group / "memory.stat").read_text(encoding="utf-8").splitlines()
        )
    except OSError:
        return float("inf")
    return float("inf") if limit.startswith("max") else int(limit) - int(used) + int(kept["file"])
