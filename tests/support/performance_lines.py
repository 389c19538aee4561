"""Lines of a performance file, as measured on a made-up machine."""

from dataclasses import replace

from bench.performance.measurement import Machine, PerformanceLine, PerformanceRow

MACHINE = Machine("cpu", "a machine", 1, "2", "1", "3", "abc", False, "2026-01-01T00:00:00+00:00")


def lines(section: str, *rows: PerformanceRow, device: str = "cpu") -> list[PerformanceLine]:
    return [PerformanceLine(section, row, replace(MACHINE, device=device)) for row in rows]
