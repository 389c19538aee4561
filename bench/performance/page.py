"""Measures what is meant to be fast, and writes the page that says how it went."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from tabulate import tabulate

from bench import environment
from bench.performance import epochs, initialisation, steps
from bench.performance.epochs import Work
from bench.performance.rows import Row
from bench.records import write_atomically

FILE = "performance.md"
BASE, MINI = "vit_base_patch16_224", "vit_mini_mae"
BATCH = {"cpu": 8, "cuda": 32}
STARTED = {"cpu": 512, "cuda": 5394}  # images that prompts start from


def measured(device: str) -> Iterator[Row]:
    """Every measurement, the longest last."""
    kind = torch.device(device).type
    for method in ("linear", "vpt_deep"):
        mini = epochs.outside_steps(Work(method, MINI, 320, 32, device), epochs=2)
        yield replace(mini, bar=0.15)
    kept = epochs.kept_features(Work("linear", MINI, 1000, 32, device), epochs=100, rounds=3)
    yield replace(kept, bar=30.0, least=True)
    yield from steps.rows(BASE, BATCH[kind], 5, device)
    yield from initialisation.rows(BASE, STARTED[kind], BATCH[kind], 20, 1, torch.device(device))


def write(results: Path, device: str) -> Iterator[str]:
    """Measure, a line as each is done, and write the page."""
    rows = []
    for row in measured(device):
        rows.append(row)
        yield f"{row.name}: {row.ratio:.3g}"
    path = results / FILE
    write_atomically(path, page(rows, environment.describe(torch.device(device))).encode())
    yield str(path)


def page(rows: list[Row], about: dict[str, object]) -> str:
    """The page, with the machine and the versions."""
    lines = [
        (row.name, f"{row.ratio:.3g}", _bar(row), row.met, f"{row.seconds:.3g}", row.n)
        for row in rows
    ]
    columns = ("what", "ratio", "bar", "", "seconds", "times")
    return (
        "<!-- made by `python -m bench performance`; do not edit -->\n\n# Performance\n\n"
        "Ratios of what took turns in one process on one machine; seconds are that machine's. "
        "Bars: at most (≤) or at least (≥).\n\n"
        f"{tabulate(lines, headers=columns, tablefmt='github')}\n\n"
        f"{about['device_name']}, {about['threads']} threads; torch {about['torch']}, timm "
        f"{about['timm']}, Python {about['python']}; commit {str(about['commit'])[:12]}, "
        f"{about['started']}.\n"
    )


def _bar(row: Row) -> str:
    return "" if row.bar is None else f"{'≥' if row.least else '≤'} {row.bar:g}"
