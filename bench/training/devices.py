import os
import platform
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch

from bench.utils.environment import git_commit, package_versions
from bench.utils.errors import UserError, first_line


def resolve_device(name: str | None) -> str:
    """The name of a device that is there."""
    import torch

    found = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=found).item()
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"no device {found!r} here: {first_line(error)}") from None
    return found


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Commit, versions, device, threads and time, as they are now."""
    return {
        **git_commit(),
        **package_versions(),
        "device": device.type,
        "device_name": _device_name(device.type),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def resolve_precision(wanted: str, device: torch.device) -> str:
    """The precision that a recipe's word means on a device: ``auto`` is bf16 where it is native.

    Raises `UserError` for ``auto`` on a GPU where there is none to ask.
    """
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UserError(
                "precision auto is the GPU's to say, and there is none here: choose with "
                "--set precision=bf16 or --set precision=fp32"
            )
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given: clocks are read only after this."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak_memory(device: torch.device) -> None:
    """Let `peak_memory_mb` count from now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):  # Linux alone has it; elsewhere the process's whole life counts
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb(device: torch.device) -> float:
    """The most memory held since the reset: allocated on a GPU, resident on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 2**10
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


@cache
def _device_name(kind: str) -> str:
    if kind == "cuda":
        return torch.cuda.get_device_name()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()}, {os.cpu_count()} cores"
    return platform.processor() or platform.machine()
