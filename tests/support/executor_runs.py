"""One suite of cells for every executor, and helpers to run it and compare the results."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.report import generate
from support import paths, tiny

ROOT = paths.REPO_ROOT
FAULTY = paths.FAULTY_METHODS
HEALTHY = "linear,bias"
GRID = f"{HEALTHY},fault_kill,fault_raise,fault_exit,fault_hang"
CAUSES = {
    "fault_kill": ("Killed", "its process was killed by SIGKILL, as when memory runs out"),
    "fault_raise": ("RuntimeError", "it broke"),
    "fault_exit": ("SystemExit", "the cell ended its process, with status 3"),
    "fault_hang": ("Timeout", "the cell took more than 8 s"),
}
PATIENCE = 150  # seconds after which a command counts as one that hangs
TIMED = ("init_seconds", "train_seconds", "peak_memory_mb")
TRACED = '''
"""A head alone that leaves a trace of each start, and takes its time."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from methods import register
from methods.linear import Linear


@dataclass(frozen=True)
class Traced(Linear):
    traces: str = ""
    seconds: float = 5.0

    def prepare(self, model, batches):
        (Path(self.traces) / str(os.getpid())).touch()
        time.sleep(self.seconds)
        self.attach(model)


register("traced", Traced())
'''


def words(folder: Path, results: Path, methods: str, *more: str) -> list[str]:
    """The words of a `run` command with the options `more`."""
    plain = tiny.command("run", folder, results, methods)
    at = plain.index("--workers")
    return [sys.executable, "-m", "bench", *plain[:at], *plain[at + 2 :], *more]


def environment() -> dict[str, str]:
    """Environment variables for one thread per cell, as in the reference run."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def run(folder: Path, results: Path, methods: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    given = words(folder, results, methods, *more)
    return subprocess.run(
        given, capture_output=True, text=True, timeout=PATIENCE, env=environment(), cwd=ROOT
    )


def run_grid(folder: Path, results: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the healthy methods, and each faulty one, for one seed or those in `more`."""
    more = ("--seeds", "0", "--plugin", str(FAULTY), "--timeout", "8", *more)
    return run(folder, results, GRID, *more)


def records(results: Path) -> dict[str, list[dict]]:
    """The records by method."""
    found: dict[str, list[dict]] = {}
    for path in sorted((results / "records").rglob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        found.setdefault(record["settings"]["method"], []).append(record)
    return found


def causes(results: Path) -> dict[str, tuple[str, str]]:
    """The error and message of each failed cell, by method."""
    failures = {m: found[0]["failure"] for m, found in records(results).items()}
    return {m: (f["error"], f["message"]) for m, f in failures.items() if f}


def tables(results: Path, place: Path) -> tuple[str, list[dict[str, str]]]:
    """The leaderboard of the healthy cells, as text and as rows, without times."""
    shutil.copytree(results / "records", place / "records")
    for path in (place / "records").rglob("fault_*.json"):
        path.unlink()
    generate.regenerate(place)
    text = re.sub(
        r"[0-9.]+ \|$",
        "|",
        (place / "leaderboard.md").read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
    with (place / "leaderboard.csv").open(encoding="utf-8") as lines:
        rows = [{k: v for k, v in row.items() if k not in TIMED} for row in csv.DictReader(lines)]
    return text, rows


@contextmanager
def two_nodes(*more: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a cluster of two nodes with one core each, and the process that holds it.

    What a line to that process does, and what else there is, `ray_cluster.py` says.
    """
    script = str(paths.TESTS / "support" / "ray_cluster.py")
    with subprocess.Popen(
        [sys.executable, script, *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment() | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.stdin.close()
            process.wait(60)
