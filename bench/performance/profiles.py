"""What takes the most where a bar is not met."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch.profiler import ProfilerActivity

from bench import environment
from bench.performance.rows import NOT_MET, Row

TOP = 8  # operators that are named
TIME = {"cpu": "self_cpu_time_total", "cuda": "self_device_time_total"}
MEMORY = {"cpu": "self_cpu_memory_usage", "cuda": "self_device_memory_usage"}


def explained(row: Row, act: Callable[[], object], device: str, what: dict[str, str] = TIME) -> Row:
    """The row; where its bar is not met, with a profile of an act that is what it measured."""
    return replace(row, profile=profile(act, device, what)) if row.met == NOT_MET else row


def profile(act: Callable[[], object], device: str, what: dict[str, str] = TIME) -> str:
    """The operators with the largest shares of the act's time, or of the memory it takes."""
    place = torch.device(device)
    activities = [ProfilerActivity.CPU]
    if place.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities, profile_memory=what is MEMORY) as found:
        act()
        environment.synchronise(place)
    taken = {event.key: getattr(event, what[place.type]) for event in found.key_averages()}
    positive = {name: amount for name, amount in taken.items() if amount > 0}
    whole, most = sum(positive.values()), sorted(positive.items(), key=lambda one: -one[1])
    return ", ".join(f"{name} {amount / whole:.0%}" for name, amount in most[:TOP])
