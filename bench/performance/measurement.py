"""What a measurement gives, and on what machine."""

# MERGED bench.performance.measurement: """What takes the most where a bar is not met."""
# MERGED bench.performance.measurement: """What an act takes: seconds, and memory beyond what was held before it."""
# MERGED bench.performance.measurement: """The file of all measurements: a line a row, each with its machine."""
import csv
import ctypes
import io
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
from bench.utils.errors import UserError
from bench.utils.files import write_atomically

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
MET, NOT_MET = "met", "not met"
TIME_RATIO, SPEEDUP, EPOCH_SHARE = "of the time", "times as fast", "of an epoch"  # units
MEMORY_RATIO, MIB, ABSOLUTE_DIFFERENCE = "of the memory", "MiB", "apart"
TRAIN_THROUGHPUT, TEST_THROUGHPUT, VTAB_HOURS = (
    "training images/s",
    "test images/s",
    "hours of VTAB-1k",
)


@dataclass(frozen=True)
class PerformanceRow:
    """One line: what was measured, the figure and its unit, the seconds behind it, how often."""

    name: str
    value: float | None  # None: it could not be measured, and the note says why
    seconds: float | None = None
    n: int = 1
    bar: float | None = None  # what the value is meant not to pass; `least`: not to fall below
    least: bool = False
    unit: str = TIME_RATIO
    note: str = ""
    against: str = ""  # of growth: what was made larger
    at: float | None = None  # and how large
    profile: str = ""  # where a bar was not met: what takes the most

    @property
    def met(self) -> str:
        """Whether the bar was met, in words; empty where there is none."""
        if self.bar is None or self.value is None:
            return ""
        reached = self.value >= self.bar if self.least else self.value <= self.bar
        return MET if reached else NOT_MET


@dataclass(frozen=True)
class Machine:
    """Where, with what and when a section was measured."""

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
    """A row in its section, with its machine."""

    section: str
    row: PerformanceRow
    machine: Machine


def this_machine(device: str) -> Machine:
    """This machine, now."""
    about = devices.describe_environment(torch.device(device))
    return Machine(**{field.name: about[field.name] for field in fields(Machine)})


TOP_OPERATORS = 8  # operators that are named
TIME_KEYS = {"cpu": "self_cpu_time_total", "cuda": "self_device_time_total"}
MEMORY_KEYS = {"cpu": "self_cpu_memory_usage", "cuda": "self_device_memory_usage"}


def with_profile(
    row: PerformanceRow, act: Callable[[], object], device: str, what: dict[str, str] = TIME_KEYS
) -> PerformanceRow:
    """The row; where its bar is not met, with a profile of an act that is what it measured."""
    return replace(row, profile=profile_operators(act, device, what)) if row.met == NOT_MET else row


def profile_operators(
    act: Callable[[], object], device: str, what: dict[str, str] = TIME_KEYS
) -> str:
    """The operators with the largest shares of the act's time, or of the memory it takes."""
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
    """What an act took: seconds, and MiB beyond what was held before it."""

    seconds: float
    mib: float


def measure_usage(act: Callable[[], object], device: str) -> Usage:
    """Act, and say what it took."""
    place = torch.device(device)
    torch.zeros((), device=place)  # a GPU that was not touched yet has no figure to set back
    with suppress(OSError, AttributeError, TypeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)  # what was freed earlier must not be taken again unseen
    devices.synchronise(place)
    devices.reset_peak_memory(place)
    before, start = devices.peak_memory_mb(place), perf_counter()
    act()
    devices.synchronise(place)
    return Usage(perf_counter() - start, devices.peak_memory_mb(place) - before)


def run_in_subprocess(act: Callable[..., Usage], *words: Any) -> Usage:
    """What an act gives in a process of its own, which has as many threads as this one."""
    threads = (torch.get_num_threads(),)
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, threads) as one:
        return one.submit(act, *words).result()


CSV_FILE = "performance.csv"
_lines_adapter = TypeAdapter(list[PerformanceLine])


def write_csv(path: Path, lines: Iterable[PerformanceLine]) -> None:
    """Write the lines as CSV; figures with six digits."""
    text = io.StringIO()
    heads = [
        "section",
        *(field.name for kind in (PerformanceRow, Machine) for field in fields(kind)),
    ]
    table = csv.DictWriter(text, heads, lineterminator="\n")
    table.writeheader()
    table.writerows(_flatten(line) for line in lines)
    write_atomically(path, text.getvalue().encode())


def read_csv(path: Path) -> list[PerformanceLine]:
    """The lines of the file; none where there is none. Raises `UserError` for another's file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        lines = [_unflatten(line) for line in csv.DictReader(file)]
    try:
        return _lines_adapter.validate_python(lines)
    except ValidationError as error:
        first = error.errors()[0]
        line, *where = first["loc"]
        raise UserError(
            f"{path}, line {int(line) + 2}: {where[-1]}: {first['msg']}; a file that "
            "`python -m bench performance` wrote was expected: restore it, or remove it"
        ) from None


def without_section(
    lines: Sequence[PerformanceLine], section: str, device: str
) -> list[PerformanceLine]:
    """The lines but for those of a section that were measured on this kind of device."""
    return [line for line in lines if (line.section, line.machine.device) != (section, device)]


def _flatten(line: PerformanceLine) -> dict[str, object]:
    values = {"section": line.section, **asdict(line.row), **asdict(line.machine)}
    return {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in values.items()}


def _unflatten(line: dict[str, Any]) -> dict[str, Any]:
    """A line in its parts; what is empty is left to its default."""

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
