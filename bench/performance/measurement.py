"""Time, memory and profile of a call, and the file of all measurements with their machines."""

import csv
import ctypes
import io
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import torch
from pydantic import TypeAdapter, ValidationError
from torch.profiler import ProfilerActivity

from bench.training import devices
from bench.utils.errors import UserError, reason
from bench.utils.files import read_regular_file, write_atomically
from bench.utils.tables import csv_from_dicts

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
MET, NOT_MET = "met", "not met"
TIME_RATIO, SPEEDUP, EPOCH_SHARE = "of the time", "times as fast", "of an epoch"  # units
MEMORY_RATIO, MIB, ABSOLUTE_DIFFERENCE = "of the memory", "MiB", "apart"
TRAIN_THROUGHPUT, TEST_THROUGHPUT = "training images/s", "test images/s"
VTAB_HOURS = "hours of VTAB-1k"
PEAK_MEMORY = "MiB allocated at most"


@dataclass(frozen=True)
class PerformanceRow:
    """One measurement: its name, value and unit, the seconds behind it, and the repetitions."""

    name: str
    value: float | None  # None: not measured; the note says why
    seconds: float | None = None
    n: int = 1
    bar: float | None = None  # upper bound of the value; with `least` a lower bound
    least: bool = False
    unit: str = TIME_RATIO
    note: str = ""
    against: str = ""  # of growth: the quantity varied
    at: float | None = None  # and its size
    profile: str = ""  # if the bar is not met: the most expensive operators

    @property
    def met(self) -> str:
        """`MET` or `NOT_MET`; empty if there is no bar."""
        if self.bar is None or self.value is None:
            return ""
        reached = self.value >= self.bar if self.least else self.value <= self.bar
        return MET if reached else NOT_MET


@dataclass(frozen=True)
class Machine:
    """The hardware, versions and date of a measurement."""

    device: str
    device_name: str
    threads: int
    torch: str
    timm: str
    python: str
    commit: str
    dirty: bool
    started: str


@dataclass(frozen=True)
class PerformanceLine:
    """A row with its section and machine."""

    section: str
    row: PerformanceRow
    machine: Machine


def this_machine(device: str) -> Machine:
    """Describe this machine, with the current time."""
    about = devices.describe_environment(torch.device(device))
    return Machine(**{field.name: about[field.name] for field in fields(Machine)})


TOP_OPERATORS = 8  # operators named in a profile
TIME_KEYS = {"cpu": "self_cpu_time_total", "cuda": "self_device_time_total"}
MEMORY_KEYS = {"cpu": "self_cpu_memory_usage", "cuda": "self_device_memory_usage"}


def with_profile(
    row: PerformanceRow, act: Callable[[], object], device: str, what: dict[str, str] = TIME_KEYS
) -> PerformanceRow:
    """Return the row; if its bar is not met, with a profile of `act`, which repeats the work."""
    return replace(row, profile=profile_operators(act, device, what)) if row.met == NOT_MET else row


def profile_operators(
    act: Callable[[], object], device: str, what: dict[str, str] = TIME_KEYS
) -> str:
    """List the operators with the largest shares of a call's time or memory."""
    place = torch.device(device)
    activities = [ProfilerActivity.CPU]
    if place.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities, profile_memory=what is MEMORY_KEYS) as found:
        act()
        devices.synchronise(place)
    taken = {event.key: getattr(event, what[place.type]) for event in found.key_averages()}
    positive = {name: amount for name, amount in taken.items() if amount > 0}
    whole, most = sum(positive.values()), sorted(positive.items(), key=lambda one: -one[1])
    return ", ".join(f"{name} {amount / whole:.0%}" for name, amount in most[:TOP_OPERATORS])


@dataclass(frozen=True)
class Usage:
    """Time and additional peak memory of a call."""

    seconds: float
    mib: float


def measure_usage(act: Callable[[], object], device: str) -> Usage:
    """Call `act` and measure its time and additional peak memory."""
    place = torch.device(device)
    torch.zeros((), device=place)  # an unused GPU has no peak to reset
    with suppress(OSError, AttributeError, TypeError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)  # else freed memory would be reused uncounted
    devices.synchronise(place)
    devices.reset_peak_memory(place)
    before, start = devices.peak_memory_mb(place), perf_counter()
    act()
    devices.synchronise(place)
    return Usage(perf_counter() - start, devices.peak_memory_mb(place) - before)


def run_in_subprocess(act: Callable[..., Usage], *words: Any) -> Usage:
    """Run a measurement in a fresh process, with as many threads as this one."""
    threads = (torch.get_num_threads(),)
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, threads) as one:
        return one.submit(act, *words).result()


CSV_FILE = "performance.csv"
MAX_CSV_BYTES = 2**24  # of a line of 300 bytes for each of 50,000 figures
CSV_REMEDY = (
    "a file that `python -m bench performance` wrote was expected: restore it, or remove it"
)
_lines_adapter = TypeAdapter(list[PerformanceLine])


def write_csv(path: Path, lines: Iterable[PerformanceLine]) -> None:
    """Write the lines as CSV, numbers with six digits."""
    heads = [
        "section",
        *(field.name for kind in (PerformanceRow, Machine) for field in fields(kind)),
    ]
    write_atomically(path, csv_from_dicts(heads, map(_flatten, lines)).encode())


def read_csv(path: Path) -> list[PerformanceLine]:
    """Read the file, if there is one. Raises `UserError` if it is not ours."""
    if not os.path.lexists(path):
        return []
    try:
        text = read_regular_file(path, MAX_CSV_BYTES).decode("utf-8")
        lines = [_unflatten(line) for line in csv.DictReader(io.StringIO(text, newline=""))]
    except (OSError, ValueError, csv.Error) as error:
        why = reason(error)
        raise UserError(f"{path} cannot be read: {why}; {CSV_REMEDY}") from None
    try:
        return _lines_adapter.validate_python(lines)
    except ValidationError as error:
        first = error.errors()[0]
        line, *where = first["loc"]
        raise UserError(
            f"{path}, line {int(line) + 2}: {where[-1]}: {first['msg']}; {CSV_REMEDY}"
        ) from None


def without_section(
    lines: Sequence[PerformanceLine], section: str, device: str
) -> list[PerformanceLine]:
    """Drop the lines of a section that were measured on this kind of device."""
    return [line for line in lines if (line.section, line.machine.device) != (section, device)]


def _flatten(line: PerformanceLine) -> dict[str, object]:
    values = {"section": line.section, **asdict(line.row), **asdict(line.machine)}
    return {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in values.items()}


def _unflatten(line: dict[str, Any]) -> dict[str, Any]:
    """Split a CSV line into row and machine; empty fields get their defaults."""

    def part(kind: type) -> dict[str, str]:
        return {f.name: line[f.name] for f in fields(kind) if line.get(f.name)}

    row = {"value": None, **part(PerformanceRow)}
    return {"section": line.get("section"), "row": row, "machine": {"commit": "", **part(Machine)}}


def group_by(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Group the items by the value of `key`, in the order of the items."""
    groups: dict[K, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)
