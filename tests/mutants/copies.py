"""Copies of the sources, and pytest run on them, one fault at a time in each.

Most of a test's time would go into importing torch. So that is imported here once, and each run is
a fork, which then imports the sources of its copy.
"""

import compileall
import gc
import os
import shutil
import signal
import sys
import traceback
import types
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from py_compile import PycInvalidationMode
from time import perf_counter, sleep
from typing import NoReturn

from mutants.catalogue import ROOT

LEFT_OUT = shutil.ignore_patterns(
    *("__pycache__", "*.egg-info", ".git", ".tox", "*venv", ".*cache", ".benchmarks", "*.pth.tar")
)
LEFT_OUT_OF = {  # names that elsewhere are those of the code's own folders
    ROOT: {"build", "data", "demo"},
    ROOT / "results": {"predictions", ".leases"},
}
HEAVY = (
    *("pytest", "numpy", "scipy.stats", "scipy.optimize", "sklearn.cluster", "PIL.Image"),
    *("torch", "torchvision.transforms.v2", "torchvision.models", "timm", "peft"),
    *("pydantic", "safetensors.torch", "matplotlib.pyplot", "pandas", "h5py", "rich.progress"),
)
SURROUNDINGS = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "PYTHONDONTWRITEBYTECODE": "1"}
PASSED, FAILED = 0, 1  # pytest's exit statuses; the others mean that no test could run
QUIET = (  # some of HEAVY bring plug-ins along; a failing test may leave a folder half read
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
    *("-W", "ignore::pytest.PytestUnraisableExceptionWarning"),
)
TICK = 0.02  # seconds between two looks at what runs


@dataclass(frozen=True)
class Job:
    """Test files to be run, and what stands in a file while they run; empty: nothing does."""

    tests: tuple[str, ...]
    limit: float  # seconds
    file: str = ""
    text: str = ""


@dataclass(frozen=True)
class Result:
    """How a run of pytest ended."""

    status: int
    said: str
    seconds: float


@dataclass
class Run:
    """A job at work in a copy."""

    number: int
    job: Job
    copy: Path
    whole: str  # what else stands in the job's file
    began: float
    process: int

    def result(self) -> Result | None:
        """How it ended; None while it runs. A run that hangs has failed."""
        seconds = perf_counter() - self.began
        ended, status = os.waitpid(self.process, os.WNOHANG)
        hung = not ended and seconds > self.job.limit
        if not ended and not hung:
            return None
        self.kill()
        if hung:
            os.waitpid(self.process, 0)
        if self.job.file:
            (self.copy / self.job.file).write_text(self.whole, encoding="utf-8")
        code = FAILED if hung else os.waitstatus_to_exitcode(status)
        return Result(
            FAILED if code < 0 else code, _output(self.copy).read_text(encoding="utf-8"), seconds
        )

    def kill(self) -> None:
        """End it, and what it has started: all in a session of its own."""
        with suppress(ProcessLookupError):
            os.killpg(self.process, signal.SIGKILL)


def preload() -> None:
    """Import what every run needs and none changes."""
    os.environ.update(SURROUNDINGS)
    for name in HEAVY:
        with suppress(ImportError):
            import_module(name)
    gc.freeze()


def copied(to: Path) -> Path:
    """A copy of the checkout's sources."""
    shutil.copytree(ROOT, to, ignore=_left_out)
    # compiled files that go by the source's hash: those that go by its time may outlive a fault
    for name in ("bench", "methods", "tests"):
        mode = PycInvalidationMode.CHECKED_HASH
        compileall.compile_dir(to / name, quiet=1, invalidation_mode=mode)
    return to


def _left_out(folder: str, names: list[str]) -> set[str]:
    return LEFT_OUT(folder, names) | (LEFT_OUT_OF.get(Path(folder), set()) & set(names))


def done(jobs: Sequence[Job], copies: Sequence[Path]) -> Iterator[tuple[int, Result]]:
    """The number of each job and how it ended, as they end: one at a time in each copy."""
    waiting, free, running = list(enumerate(jobs))[::-1], list(copies), list[Run]()
    try:
        while waiting or running:
            while waiting and free:
                running.append(_started(*waiting.pop(), free.pop()))
            for run in list(running):
                if result := run.result():
                    running.remove(run)
                    free.append(run.copy)
                    yield run.number, result
            sleep(TICK)
    finally:  # where this is left early: a session of its own does not end with ours
        for run in running:
            run.kill()


def _started(number: int, job: Job, copy: Path) -> Run:
    whole = (copy / job.file).read_text(encoding="utf-8") if job.file else ""
    if job.file:
        (copy / job.file).write_text(job.text, encoding="utf-8")
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        _become_pytest(job, copy)
    return Run(number, job, copy, whole, perf_counter(), process)


def _become_pytest(job: Job, copy: Path) -> NoReturn:
    """Run the tests on the copy, in this process and as if it had been started there."""
    code = 70  # of the harness itself; pytest has none so high
    try:
        os.setsid()
        os.chdir(copy)
        output = os.open(_output(copy), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ["PYTHONPATH"] = str(copy)
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(copy.parent)  # two runs clear away the same
        ours = {str(ROOT), str(ROOT / "tests"), ""}
        sys.path[:] = [str(copy), *(path for path in sys.path if path not in ours)]
        sys.modules["__main__"] = types.ModuleType("__main__")  # processes it starts skip it
        for name in [name for name in sys.modules if name.partition(".")[0] == "mutants"]:
            del sys.modules[name]
        found = Path(str(import_module("bench").__file__))
        assert found.is_relative_to(copy), f"the faults would not be seen: bench is {found}"
        pytest = import_module("pytest")
        named = [f"tests/{name}" for name in job.tests]
        code = int(pytest.main(["-x", "-q", "--tb=line", "--long", *QUIET, *named]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _output(copy: Path) -> Path:
    return copy.parent / "said.txt"
