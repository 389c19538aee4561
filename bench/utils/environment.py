"""Where and with what a cell ran: the part of a record that says why numbers may differ."""

import platform
import subprocess
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bench.utils.files import REPO_ROOT

PACKAGES = ("torch", "torchvision", "timm", "peft", "numpy", "scikit-learn", "pillow")


@cache
def git_commit() -> dict[str, Any]:
    """This checkout's commit, and whether files differ from it."""
    try:
        found = _git("rev-parse", "HEAD")
        return {"commit": found, "dirty": bool(_git("status", "--porcelain", "--", *_CODE_PATHS))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "", "dirty": True}


_CODE_PATHS = ("bench", "methods", "datasets", "pyproject.toml")


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=REPO_ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@cache
def package_versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
