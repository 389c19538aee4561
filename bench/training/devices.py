"""The device of a run: choice, precision, synchronisation, peak memory, and its description."""

import os
import platform
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch

from bench.training import numerics
from bench.utils.environment import git_commit, package_versions
from bench.utils.errors import UserError, first_line


def resolve_device(name: str | None) -> str:
    """Return the name of the device to use, by default a GPU if there is one.

    Raises `UserError` if this machine does not have it.
    """
    found = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=found).item()
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"no device {found!r} here: {first_line(error)}") from None
    return found


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Describe commit, versions, device, threads and time for a record."""
    return {
        **git_commit(),
        **package_versions(),
        "device": device.type,
        "device_name": _device_name(device.type),
        "threads": torch.get_num_threads(),
        **numerics.describe(device),
        "platform": platform.platform(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def resolve_precision(precision: str, device: torch.device) -> str:
    """Return the precision to use on a device: for ``auto``, bf16 if the device has it natively.

    Raises `UserError` for ``auto`` on a GPU if this machine has none to query, for ``tf32`` on a
    device without it, and if NVIDIA's own variable would change the precision.
    """
    if precision == "tf32":
        numerics.require_tf32(device)
    if device.type == "cuda":
        numerics.require_no_override(precision)
    if precision != "auto":
        return precision
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UserError(
                "precision auto depends on the GPU, and this machine has none: choose with "
                "--set precision=bf16 or --set precision=fp32"
            )
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"


def synchronise(device: torch.device) -> None:
    """Wait for the device to finish its queue; required before a clock is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak_memory(device: torch.device) -> None:
    """Reset the peak that `peak_memory_mb` returns."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):  # only Linux has it; elsewhere the peak is the process's
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def peak_memory_mb(device: torch.device) -> float:
    """Return the peak memory since the reset in MiB: allocated on a GPU, resident on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 2**10
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


@cache
def _device_name(device_type: str) -> str:
    if device_type == "cuda":
        return torch.cuda.get_device_name()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()}, {os.cpu_count()} cores"
    return platform.processor() or platform.machine()
