"""Weights files: the tensors that they hold, whatever wraps them, and their hashes."""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from bench.errors import UserError, first_line

WRAPPERS = ("model", "state_dict")  # under which released files keep their weights

_finite = set[str]()  # sha256 of files whose values were looked through


def sha256(path: Path) -> str:
    """The hash of a file's bytes, computed once a process."""
    return _sha256_of(path, path.stat().st_mtime_ns)


@cache
def _sha256_of(path: Path, _changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file by the file's names; raises `UserError` for what is none."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes the unpickler raise any kind
        raise UserError(_unreadable(path, error)) from None
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and wrapper in content:
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds a {type(content).__name__}, not weights by name")
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def _unreadable(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        start = file.read(64)
    if not start or start.lstrip().startswith(b"<"):
        what = "a web page, not weights" if start else "empty"
        return f"{path} is {what}: its download went wrong"
    return f"{path} cannot be read as weights: {first_line(error)}"


def require_finite(weights: Mapping[str, Tensor], path: Path) -> None:
    """Raise `UserError` for a value that is no number, or none in float32, where networks compute.

    Of each file's bytes that is found out once a process.
    """
    content = sha256(path)
    if content in _finite:
        return
    for name, values in weights.items():
        if not values.is_floating_point():
            continue
        odd = int((~values.float().isfinite()).sum())
        if odd:
            raise UserError(
                f"{path}: {odd} of the {values.numel()} values of {name} are not finite (NaN, or "
                "beyond float32): no network can start from them"
            )
    _finite.add(content)
