"""Provenance: the commit of this checkout and the versions of the packages it runs with."""

import hashlib
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
    """Return this checkout's commit, and whether its code has uncommitted changes."""
    try:
        found = _git("rev-parse", "HEAD")
        return {"commit": found, "dirty": bool(_git("status", "--porcelain", "--", *_CODE_PATHS))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "", "dirty": True}


_CODE_PATHS = ("bench", "methods", "datasets", "pyproject.toml")


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=REPO_ROOT, capture_output=True, encoding="utf-8", check=True
    )
    return done.stdout.strip()


@cache
def source_sha256() -> str:
    """Hash this checkout's own code, as it is when first asked for: with uncommitted changes."""
    found = hashlib.sha256()
    for folder in ("bench", "methods"):
        for path in sorted((REPO_ROOT / folder).rglob("*.py")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            found.update(f"{path.relative_to(REPO_ROOT).as_posix()} {content}\n".encode())
    return found.hexdigest()


@cache
def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change a number."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
