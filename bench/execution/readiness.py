"""Whether this machine can run a request: versions, device, disk, weights, licences, data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

import torch

from bench.config.suite import card_folder, load_source
from bench.data import locations, synthetic
from bench.execution import room, selection
from bench.execution.resolution import ResolvedRequest
from bench.execution.selection import SplitPair
from bench.models import backbones
from bench.models.backbones import Backbone
from bench.prepare.downloads.checksums import format_bytes
from bench.prepare.weights import FREE
from bench.records.store import Store
from bench.training import devices
from bench.utils.environment import package_versions
from bench.utils.errors import UserError
from methods.shared.memory import free_memory


@dataclass(frozen=True)
class Finding:
    """The result of a check; one of the level `fail` keeps cells from running."""

    level: Literal["ok", "note", "fail"]
    subject: str
    text: str


def check_versions() -> Iterator[Finding]:
    """Yield the versions, and whether torch can use a GPU."""
    found = ", ".join(f"{name} {version}" for name, version in package_versions().items())
    yield Finding("ok", "versions", found)
    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = (
            f"torch is built for CUDA {built} and finds none" if built else "torch is built without"
        )
        yield Finding("note", "GPU", f"{why}; cells run on the CPU")


def check_device(resolved: ResolvedRequest) -> Iterator[Finding]:
    """Yield the device with its free memory, and the precision of the cells."""
    device = torch.device(resolved.request.device)
    about = devices.describe_environment(device)
    free = free_memory(device)
    memory = f", {format_bytes(free)} of memory free" if free < float("inf") else ""
    text = f"{about['device_name']}{memory}; precision {resolved.precision}"
    yield Finding("ok", f"device {device}", text)


def check_results(results: Path, runs: int) -> Iterator[Finding]:
    """Yield whether records can be written, and whether the disk holds those of so many runs."""
    store = Store(results)
    store.require_current_schema()
    store.require_writable()
    free, need = room.free_disk(results), room.needed_disk(runs)
    text = f"{results}: can be written, {format_bytes(free)} of disk free"
    if free < need:
        text += f"; {runs:,} runs may need {format_bytes(need)}"
    yield Finding("ok" if free >= need else "fail", "results", text)


def check_weights(resolved: ResolvedRequest, found: dict[str, Backbone]) -> Iterator[Finding]:
    """Yield whether each backbone's weights are here and fit; those that are go into `found`."""
    for name in resolved.backbone_names:
        subject = f"weights of {name}"
        try:
            one = backbones.find(name, resolved.request.changes)
        except UserError as error:
            yield Finding("fail", subject, str(error))
            continue
        found[one.card.name] = one
        yield Finding("ok", subject, f"{one.weights or 'random'}, {one.sha256[:12]}")
        if one.card.licence and one.card.licence not in FREE:
            terms = f"under {one.card.licence}: {one.card.source}"
            yield Finding("note", "licence", f"{name} is {terms}")


def check_data(resolved: ResolvedRequest, pairs: Sequence[SplitPair]) -> Iterator[Finding]:
    """Yield whether the data of the tasks are here, and whether their images can be read."""
    request, suite, tasks = resolved.request, resolved.suite, resolved.used_tasks
    try:
        selection.require_present(suite, resolved.present_tasks, request)
    except UserError as error:
        yield Finding("fail", "data", str(error))
        yield from _terms(resolved)
        return
    failed = 0
    for task, pair in product(tasks, pairs):
        try:
            warnings = resolved.data(task, pair).warnings
        except UserError as error:
            failed += 1
            yield Finding("fail", f"data of {task.name}", str(error))
            continue
        yield from (Finding("note", f"data of {task.name}", text) for text in warnings)
    if not failed:
        how = "are synthetic" if synthetic.is_synthetic(request.root) else "can be read"
        yield Finding("ok", "data", f"the images of all {len(tasks)} tasks of {suite.name} {how}")


def _terms(resolved: ResolvedRequest) -> Iterator[Finding]:
    """Yield the terms to be accepted for the data that are not here."""
    request, suite = resolved.request, resolved.suite
    place = card_folder(request.suite or suite.name)
    for task in resolved.present_tasks:
        if locations.is_present(suite, task, request.root, request.variant) or not task.source:
            continue
        source = load_source(task.source, place)
        if source.access != "open":
            text = f"{source.title} ({source.licence}): accept its terms, {source.home}"
            yield Finding("note", f"data of {task.name}", text)
