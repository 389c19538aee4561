"""Measures what is meant to be fast, section by section, and writes the page that says how it went.

The page is made of the file of all measurements: what is not measured now stays as it was.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.errors import unknown
from bench.performance import picture, sheet, tables
from bench.performance.rows import Line, Machine, Row, machine
from bench.performance.sections import SECTIONS, SIZES
from bench.records import write_atomically
from bench.report.grouping import gather
from bench.report.text import on

FILE, PICTURE = "performance.md", "pictures/performance"
TOP = f"""\
<!-- made by `python -m bench performance`; do not edit -->

# Performance

What is meant to be fast, as ratios of what took turns on one machine; the seconds are that
machine's. Bars: at most (≤) or at least (≥). Every figure [as CSV]({sheet.FILE}). One section is
measured anew with `python -m bench performance --only SECTION`.
"""
SHOWN = f"[![Time and memory as work grows]({PICTURE}.png)]({PICTURE}.svg)"


def write(results: Path, device: str, only: Sequence[str] = ()) -> Iterator[str]:
    """Measure all sections or some, a line a row; after each, write the file and the page."""
    for name in only:
        if name not in SECTIONS:
            raise unknown("section", name, SECTIONS)
    lines = sheet.read(results / sheet.FILE)
    here = machine(device)
    if here.device not in SIZES:
        raise unknown("kind of device to measure on", here.device, SIZES)
    for name in (name for name in SECTIONS if not only or name in only):
        now, found = machine(device), []
        for row in SECTIONS[name].measure(SIZES[here.device], device):
            found.append(Line(name, row, now))
            yield _said(row)
        lines = [*sheet.replaced(lines, name, here.device), *found]
        _publish(results, lines)
    yield str(results / FILE)


def page(lines: Sequence[Line]) -> str:
    """The page: each section in a table a machine."""
    found = gather(lines, lambda line: line.section)
    parts = [TOP, tables.bars([line.row for line in lines])]
    for name, section in SECTIONS.items():
        if name in found:
            parts.append(f"## {section.title}\n\n{section.says}")
            parts += [SHOWN] if name == picture.SECTION else []
            for where, own in gather(found[name], lambda line: line.machine).items():
                parts.append(f"{section.table([line.row for line in own])}\n\n{_about(where)}")
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _publish(results: Path, lines: Sequence[Line]) -> None:
    sheet.write(results / sheet.FILE, lines)
    write_atomically(results / FILE, page(lines).encode())
    drawing = picture.draw(lines)
    if drawing:
        write_atomically(results / f"{PICTURE}.svg", drawing.svg())
        write_atomically(results / f"{PICTURE}.png", drawing.png())


def _said(row: Row) -> str:
    at = f" at {row.at:g} {row.against}" if row.at is not None else ""
    value = row.note if row.value is None else f"{row.value:.3g} {row.unit}"
    met = f" ({row.met})" if row.met else ""
    return f"{row.name}{at}: {value}{met}"


def _about(where: Machine) -> str:
    changed = " with changes" if where.dirty else ""
    return (
        f"Measured on {on(where.device_name, where.threads)}; torch {where.torch}, timm "
        f"{where.timm}, Python {where.python}; commit {where.commit[:12]}{changed}, "
        f"{where.started}."
    )
