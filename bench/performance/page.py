"""The performance page: measures it section by section and writes it as Markdown.

The page is generated from the file of all measurements, so that sections which are not measured
again keep their earlier results.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bench.performance import (
    epochs,
    initialisation,
    measurement,
    method_cost,
    scaling,
    step_settings,
    training_step,
)
from bench.performance.epochs import Workload
from bench.performance.measurement import (
    CSV_FILE,
    MET,
    NOT_MET,
    VTAB_HOURS,
    Machine,
    PerformanceLine,
    PerformanceRow,
    group_by,
    this_machine,
)
from bench.performance.work_sizes import SIZES, WorkSizes
from bench.report.markdown import MISSING, describe_machine, table_from_rows
from bench.utils.errors import unknown_name
from bench.utils.escaping import for_markdown
from bench.utils.files import FileContents, write_files

TEXT_COLUMNS = frozenset({"what", "method", "against", "beside"})


def pairs_table(rows: Sequence[PerformanceRow]) -> str:
    """Tabulate rows with their bars; below, profiles of those that miss their bar."""
    heads = ("what", "measured", "bar", "met", "seconds", "times", "beside")
    table = table_from_rows(heads, [_pair_cells(row) for row in rows], TEXT_COLUMNS)
    return "\n\n".join([table, *(_profile_note(row) for row in rows if row.profile)])


def methods_table(rows: Sequence[PerformanceRow]) -> str:
    """Tabulate one method per line and one unit per column; above, the work; below, refusals."""
    known = [row for row in rows if row.value is not None]
    units = list(dict.fromkeys(row.unit for row in known))
    lines = []
    for name, own in group_by(known, lambda row: row.name).items():
        figures = {row.unit: row for row in own}
        lines.append([name, *(_format_figure(figures.get(unit)) for unit in units)])
    refused = [for_markdown(f"{row.name}: {row.note}") for row in rows if row.value is None]
    work = [for_markdown(f"{note}:") for note in dict.fromkeys(row.note for row in known)]
    return "\n\n".join([*work, table_from_rows(["method", *units], lines, TEXT_COLUMNS), *refused])


def scaling_table(rows: Sequence[PerformanceRow]) -> str:
    """Tabulate each series at its smallest and its largest size."""
    heads = ("what", "against", "from", "to", "seconds, first", "last", "MiB, first", "last")
    lines = []
    for (name, against), own in group_by(rows, lambda row: (row.name, row.against)).items():
        first, last = own[0], own[-1]
        sizes = [f"{row.at:g}" for row in (first, last)]
        seconds = [_format_short(row.seconds) for row in (first, last)]
        mib = [_format_short(row.value) for row in (first, last)]
        lines.append([name, against, *sizes, *seconds, *mib])
    return table_from_rows(heads, lines, TEXT_COLUMNS)


def bars_summary(rows: Sequence[PerformanceRow]) -> str:
    """Count the bars that were met and not met."""
    said = [row.met for row in rows]
    return f"Bars: {said.count(MET)} met, {said.count(NOT_MET)} not met."


def _pair_cells(row: PerformanceRow) -> list[str]:
    bar = MISSING if row.bar is None else f"{'≥' if row.least else '≤'} {row.bar:g}"
    measured, seconds = f"{_format_short(row.value)} {row.unit}", _format_short(row.seconds)
    return [row.name, measured, bar, row.met or MISSING, seconds, str(row.n), row.note]


def _profile_note(row: PerformanceRow) -> str:
    return for_markdown(f"Not met: {row.name}. The operators that take the most: {row.profile}.")


def _format_figure(row: PerformanceRow | None) -> str:
    if row is None or row.value is None:
        return MISSING
    return f"{row.value:.1f}" if row.unit == VTAB_HOURS else f"{row.value:,.0f}"


def _format_short(value: float | None) -> str:
    """Format with three significant digits, without an exponent for large numbers."""
    if value is None:
        return MISSING
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


@dataclass(frozen=True)
class PageSection:
    """A section of the page: its text, its measurement and the layout of its table."""

    title: str
    description: str
    measure: Callable[[WorkSizes, str], Iterator[PerformanceRow]]  # sizes, device
    table: Callable[[Sequence[PerformanceRow]], str] = pairs_table


def _steps(sizes: WorkSizes, device: str) -> Iterator[PerformanceRow]:
    yield from training_step.measure_steps(sizes.base, sizes.batch, sizes.rounds, device)
    yield from training_step.measure_form_differences(sizes.base, sizes.batch, device)


def _initialisation(sizes: WorkSizes, device: str) -> Iterator[PerformanceRow]:
    place, count = torch.device(device), sizes.initialisation_images
    yield from initialisation.measure_initialisation(sizes.base, count, sizes.batch, 20, 2, place)


def _features(sizes: WorkSizes, device: str) -> Iterator[PerformanceRow]:
    images, many = sizes.cache_work
    for method in ("linear", "vpt_deep"):
        yield epochs.loop_overhead(
            Workload(method, sizes.mini, min(images, 320), 32, device), epochs=2
        )
    few = Workload("vpt_deep", sizes.large, 4 * sizes.batch, sizes.batch, device)
    yield replace(epochs.loop_overhead(few, epochs=2), bar=0.05)
    yield epochs.cache_speedup(Workload("linear", sizes.mini, images, 32, device), many, rounds=3)


def _memory(sizes: WorkSizes, device: str) -> Iterator[PerformanceRow]:
    yield from training_step.measure_step_memory(sizes.base, sizes.batch, device)
    images = sizes.clustering_images
    yield from initialisation.measure_clustering_memory(images, device, sizes.shallow)


def _growth(sizes: WorkSizes, device: str) -> Iterator[PerformanceRow]:
    yield from scaling.measure_scaling(sizes.plans, device)


def _settings(sizes: WorkSizes, device: str) -> Iterator[PerformanceRow]:
    backbone = sizes.throughput_backbone
    yield from step_settings.measure_settings(backbone, sizes.settings, sizes.rounds, device)


def _throughput(sizes: WorkSizes, device: str) -> Iterator[PerformanceRow]:
    yield from method_cost.measure_throughput(sizes.throughput_backbone, 32, 3, device)


SECTIONS = {
    "steps": PageSection(
        "Training steps",
        "A step with deep prompts as keys and values beside the concatenation of the papers, and "
        "beside the floor: forward, and backward through the activations alone. All take turns in "
        "one process on the same batch; fp32, random weights. Both forms must compute the same.",
        _steps,
    ),
    "initialisation": PageSection(
        "Initialisation",
        "A start of 20 deep prompts beside the one forward pass that it cannot do without. The "
        "paper's seconds, on CUB-200, stand beside those of a GPU.",
        _initialisation,
    ),
    "features": PageSection(
        "Features that are kept",
        "Epochs on features of a frozen network beside epochs on images, the pass that makes them "
        "included; and what of an epoch is neither forward, nor backward, nor the optimiser's.",
        _features,
    ),
    "memory": PageSection(
        "Memory",
        "The most that is held beyond what was held before, resident on a CPU and allocated on a "
        "GPU; each in a process of its own. K-means clusters as many tokens as CUB-200's 5,394 "
        "training images give in a layer of ViT-B/16.",
        _memory,
    ),
    "growth": PageSection(
        "Growth",
        f"One thing is made larger at a time. The network: {scaling.NETWORK_TEXT}. The base is "
        f"{scaling.describe_base(scaling.INITIALISATION)} for a start, "
        f"{scaling.describe_base(scaling.TRAINING_STEP)} for a step, whose images are its batch.",
        _growth,
        scaling_table,
    ),
    "settings": PageSection(
        "Batch size and precision",
        "A training step of some methods by batch size and precision, on ViT-B/16 with random "
        "weights on a GPU and on the small network that comes with the project on a CPU. On a "
        "GPU also the most memory that PyTorch allocated (CUDA's context, about half a GiB, comes "
        "on top), and the share of a step in which a kernel runs.",
        _settings,
        methods_table,
    ),
    "throughput": PageSection(
        "Throughput",
        "Images a second of every method, on images: what is kept of frozen networks comes on "
        "top. On a CPU the network is the small one that comes with the project, whose hours say "
        "nothing of ViT-B/16's. Hours are projected from them for one seed of VTAB-1k: 19 tasks "
        "of 1,000 images for 100 epochs, and 387,904 test images once. On a GPU the memory is the "
        "most that PyTorch allocated in a training step: the smallest GPU that a method needs has "
        "this and about half a GiB for CUDA's context.",
        _throughput,
        methods_table,
    ),
}

PAGE_FILE, FIGURE_STEM = "performance.md", "pictures/performance"
HEADER = f"""\
<!-- made by `python -m bench performance`; do not edit -->

# Performance

What is meant to be fast, as ratios of what took turns on one machine; the seconds are that
machine's. Bars: at most (≤) or at least (≥). Every figure [as CSV]({CSV_FILE}). One section is
measured anew with `python -m bench performance --only SECTION`.
"""
FIGURE_MARKDOWN = f"[![Time and memory as work grows]({FIGURE_STEM}.png)]({FIGURE_STEM}.svg)"


def measure_and_write(results: Path, device: str, only: Sequence[str] = ()) -> Iterator[str]:
    """Measure the sections, yield a line per row, and write file and page after each section."""
    for name in only:
        if name not in SECTIONS:
            raise unknown_name("section", name, SECTIONS)
    lines = measurement.read_csv(results / CSV_FILE)
    here = this_machine(device)
    if here.device not in SIZES:
        raise unknown_name("kind of device to measure on", here.device, SIZES)
    chosen = [name for name in SECTIONS if not only or name in only]
    for number, name in enumerate(chosen, start=1):
        yield f"section {number} of {len(chosen)}: {name}"
        now, found = this_machine(device), []
        for row in SECTIONS[name].measure(SIZES[here.device], device):
            found.append(PerformanceLine(name, row, now))
            yield _describe_row(row)
        lines = [*measurement.without_section(lines, name, here.device), *found]
        _write_files(results, lines)
    yield str(results / PAGE_FILE)


def markdown_page(lines: Sequence[PerformanceLine]) -> str:
    """Render the page: each section with one table per machine."""
    found = group_by(lines, lambda line: line.section)
    parts = [HEADER, bars_summary([line.row for line in lines])]
    for name, section in SECTIONS.items():
        if name in found:
            parts.append(f"## {section.title}\n\n{section.description}")
            parts += [FIGURE_MARKDOWN] if name == scaling.SECTION else []
            for where, own in group_by(found[name], lambda line: line.machine).items():
                parts.append(
                    f"{section.table([line.row for line in own])}\n\n{_describe_machine(where)}"
                )
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _write_files(results: Path, lines: Sequence[PerformanceLine]) -> None:
    measurement.write_csv(results / CSV_FILE, lines)
    contents: FileContents = {PAGE_FILE: markdown_page(lines).encode()}
    if drawing := scaling.draw(lines):
        contents |= {f"{FIGURE_STEM}.svg": drawing.svg(), f"{FIGURE_STEM}.png": drawing.png()}
    write_files(results, contents)


def _describe_row(row: PerformanceRow) -> str:
    at = f" at {row.at:g} {row.against}" if row.at is not None else ""
    value = row.note if row.value is None else f"{row.value:.3g} {row.unit}"
    met = f" ({row.met})" if row.met else ""
    return f"{row.name}{at}: {value}{met}"


def _describe_machine(where: Machine) -> str:
    changed = " with changes" if where.dirty else ""
    machine = describe_machine(where.device_name, where.threads)
    return for_markdown(
        f"Measured on {machine}; torch {where.torch}, timm {where.timm}, Python {where.python}; "
        f"commit {where.commit[:12]}{changed}, {where.started}."
    )
