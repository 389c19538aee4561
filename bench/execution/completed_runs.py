"""Runs that ended complete, remembered: the same run, asked for again, has nothing to do.

Planning a run imports torch and timm and reads the data, which takes several seconds. For runs on
data and weights that come with the project the answer is kept in the user's cache. It holds while
options, machine, installed code, and all files that it rests on stay as they are; in doubt the run
is planned.
"""

import hashlib
import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config.loading import SUITES_DIR, WEIGHTS_DIR
from bench.utils import files
from bench.utils.files import REPO_ROOT

if TYPE_CHECKING:
    from bench.training.cell import Cell

DISTRIBUTION = "vit-peft-bench"
CODE = (REPO_ROOT / "bench", REPO_ROOT / "methods", SUITES_DIR)
OWN_FILES = (".py", ".toml", ".safetensors")
VARIABLES = ("BENCH_", "CUDA_", "HIP_", "NVIDIA_", "PYTORCH_", "TORCH_")  # that change a plan
GPUS = ("nvidia*", "kfd", "accel*")  # in /dev
NEVER_KEPT = (  # options of runs that repeat or restrict cells, or of code that may change
    "force", "limit_cells", "only", "dry_run", "study", "plugins", "tensorboard"
)  # fmt: skip
IRRELEVANT = ("debug", "run")  # options that change no plan


@dataclass(frozen=True)
class CompletedRun:
    """A run by its options, as the command line has them, over one results folder."""

    results: Path
    options: Mapping[str, Any]

    @property
    def is_kept(self) -> bool:
        """Whether such a run is remembered: one that neither repeats nor restricts cells."""
        return not any(self.options.get(name) for name in NEVER_KEPT)

    @cached_property
    def key(self) -> str:
        """The hash of options, machine and installed code."""
        options = {k: v for k, v in self.options.items() if k not in IRRELEVANT}
        asked = sorted((name, repr(value)) for name, value in options.items())
        about = [asked, str(self.results.resolve()), os.getcwd(), _machine(), _installed_code()]
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()

    def sentence(self) -> str | None:
        """Return the sentence kept for a complete run; None if the run has to be planned."""
        if not self.is_kept:
            return None
        with suppress(OSError, ValueError, KeyError, TypeError, metadata.PackageNotFoundError):
            kept = json.loads(self._place().read_text("utf-8"))
            if kept["stamps"] == _stamps(kept["files"], self._folders()):
                return str(kept["sentence"])
        return None

    def keep(self, sentence: str, watched: Iterable[Path]) -> None:
        """Remember `sentence` for this run, until one of the `watched` files changes."""
        if not self.is_kept:
            return
        with suppress(OSError, metadata.PackageNotFoundError):
            paths = sorted({str(path.resolve()) for path in (*watched, *self._named_files())})
            kept = {
                "sentence": sentence,
                "files": paths,
                "stamps": _stamps(paths, self._folders()),
            }
            files.write_atomically(self._place(), json.dumps(kept).encode())

    def _place(self) -> Path:
        return files.cache_dir() / "completed-runs" / f"{self.key}.json"

    def _folders(self) -> list[str]:
        """Return the folders of records: a record that comes or goes changes the tables."""
        return [folder for folder, _, _ in os.walk(self.results.resolve() / "records")]

    def _named_files(self) -> Iterator[Path]:
        """Yield the cards that the options name by their paths."""
        for value in self.options.values():
            for name in value if isinstance(value, list | tuple) else [value]:
                if isinstance(name, str | Path) and os.path.isfile(name):
                    yield Path(name)


def rests_on_package_alone(cells: Iterable["Cell"]) -> bool:
    """Return whether data and weights of all these cells come with the project."""
    return all(
        not cell.data_warnings
        and all(task.embedded for task in (cell.task, cell.prompt_task) if task)
        and all(shift.drawn for shift in cell.shifts)
        and (cell.backbone.weights is None or cell.backbone.weights.parent == WEIGHTS_DIR)
        for cell in cells
    )


def _stamps(paths: Iterable[str], folders: Iterable[str]) -> list[list[int]]:
    """Return the stamps of what is there; JSON gives the same ones back."""
    return [list(stamp) for stamp in files.file_stamps(map(Path, (*paths, *folders)))]


def _machine() -> list[object]:
    """Return what a plan may take from the machine: its GPUs and variables."""
    variables = {k: v for k, v in os.environ.items() if k.startswith(VARIABLES)}
    gpus = sorted(str(path) for pattern in GPUS for path in Path("/dev").glob(pattern))
    return [platform.node(), sys.version, sorted(variables.items()), gpus]


def _installed_code() -> list[object]:
    """Return the stamps of the project's files, and the versions of the packages it requires."""
    own = [path for folder in CODE for path in folder.rglob("*") if path.suffix in OWN_FILES]
    required = metadata.requires(DISTRIBUTION) or []
    names = sorted({_package_name(line) for line in required})
    return [files.file_stamps(own), [(name, _version(name)) for name in names]]


def _package_name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
