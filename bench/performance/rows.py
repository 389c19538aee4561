"""What a measurement gives, and on what machine."""

from dataclasses import dataclass, fields

import torch

from bench import environment

MET, NOT_MET = "met", "not met"
RATIO, FASTER, SHARE = "of the time", "times as fast", "of an epoch"  # units
MEMORY, MIB, ERROR = "of the memory", "MiB", "apart"
TRAINING, TESTING, HOURS = "training images/s", "test images/s", "hours of VTAB-1k"


@dataclass(frozen=True)
class Row:
    """One line: what was measured, the figure and its unit, the seconds behind it, how often."""

    name: str
    value: float | None  # None: it could not be measured, and the note says why
    seconds: float | None = None
    n: int = 1
    bar: float | None = None  # what the value is meant not to pass; `least`: not to fall below
    least: bool = False
    unit: str = RATIO
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
class Line:
    """A row in its section, with its machine."""

    section: str
    row: Row
    machine: Machine


def machine(device: str) -> Machine:
    """This machine, now."""
    about = environment.describe(torch.device(device))
    return Machine(**{field.name: about[field.name] for field in fields(Machine)})
