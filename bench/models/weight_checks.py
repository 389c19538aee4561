"""Checks of a weights file that anybody may have written: before it is read, and of its tensors.

Reading it then takes time and memory in proportion to its size, whatever it says of itself.
"""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.utils.errors import UserError
from bench.utils.files import LFS_MARK, LFS_PROBLEM
from bench.utils.names import shorten

MAX_BYTES = 10**11  # ten times the largest plain ViT, with its optimiser's state
MAX_TENSORS = 100_000
MAX_GROWTH, SLACK = 4, 2**24  # of what a file unpacks to, times its size and in bytes


def require_weights_file(path: Path) -> None:
    """Raise `UserError` for what cannot be a weights file, by its kind, size and first bytes."""
    if not os.path.isfile(path):
        raise UserError(f"{path} is not a regular file, so it holds no weights")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise UserError(f"{path} has {size:,} bytes: more than {MAX_BYTES:,} are no weights here")
    with path.open("rb") as file:
        if problem := _explain_start(file.read(64)):
            raise UserError(f"{path} is {problem}")


def _explain_start(start: bytes) -> str:
    """Return what a file is that begins so, where it can be no weights."""
    if not start:
        return "empty: its download went wrong"
    if start.startswith(LFS_MARK):
        return LFS_PROBLEM.removeprefix("it is ")
    return "a web page, not weights: its download went wrong" if start.lstrip()[:1] == b"<" else ""


def require_packed(path: Path) -> None:
    """Raise `UserError` for a zip file that would unpack to far more than its size.

    torch writes zip files without compression.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as packed:
            unpacked = sum(entry.file_size for entry in packed.infolist())
    except (zipfile.BadZipFile, ValueError):
        return  # torch says what is wrong with it
    if unpacked > MAX_GROWTH * path.stat().st_size + SLACK:
        raise UserError(f"{path} would unpack to {unpacked:,} bytes: that is no file of weights")


def tensors_of(content: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file's content by name; raises `UserError` for odd ones.

    A tensor may claim any shape over few values, or a layout that nothing here computes with.
    """
    found = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if len(found) > MAX_TENSORS:
        raise UserError(f"{path} has {len(found):,} tensors; {MAX_TENSORS:,} may be")
    for name, value in found.items():
        if not isinstance(name, str):
            raise UserError(f"{path} calls a tensor {shorten(name)}; names were expected")
        if problem := _tensor_problem(value):
            raise UserError(f"{path}: {shorten(name)} {problem}")
    total = sum(value.nbytes for value in found.values())
    if total > MAX_GROWTH * path.stat().st_size + SLACK:
        raise UserError(f"{path} has tensors of {total:,} bytes, many times its size")
    return found


def _tensor_problem(value: Tensor) -> str:
    """Return why a tensor is not one of plain numbers, as the end of a sentence."""
    is_plain = value.layout == torch.strided and not value.is_quantized and not value.is_nested
    if not is_plain or value.device.type != "cpu" or value.is_complex():
        return "is no plain tensor of real numbers"
    if value.nbytes > value.untyped_storage().nbytes():
        return f"says that it is {tuple(value.shape)}, and has fewer values"
    return ""
