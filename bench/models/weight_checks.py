"""Checks of a weights file that anybody may have written: before it is read, and of its tensors.

Reading it then takes time and memory in proportion to its size, whatever it says of itself.
"""

import os
import re
import struct
import zipfile
from collections.abc import Collection, Mapping
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


STARTS = {  # of files that are no weights, or not of a kind that is read here
    b"\x89HDF": "an HDF5 file, as Keras writes them: name a file of PyTorch's",
    b"GGUF": "a GGUF file, of quantised language models",
    b"\x93NUMPY": "one array of NumPy's: an .npz of Google's holds all of a model's",
    b"\x1f\x8b": "compressed (gzip): unpack it first",
    b"BZh": "compressed (bzip2): unpack it first",
    b"\xfd7zXZ": "compressed (xz): unpack it first",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
    b"Rar!": "a RAR archive: unpack it first",
    b"{": "a text in JSON, such as a configuration or the index of several files: name the weights",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
}
TAR_MARK = slice(257, 262), b"ustar"
SAFETENSORS = "safetensors"


def require_weights_file(path: Path) -> None:
    """Raise `UserError` for what cannot be a weights file, by its kind, size and first bytes."""
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder, not a weights file: name the file in it")
    if not os.path.isfile(path):
        raise UserError(f"{path} is not a regular file, so it holds no weights")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise UserError(f"{path} has {size:,} bytes; at most {MAX_BYTES:,} are read as weights")
    if problem := _explain_start(_read_start(path)):
        raise UserError(f"{path} is {problem}")


def _read_start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(512)


def _explain_start(start: bytes) -> str:
    """Return the kind of file that starts with these bytes, if it cannot be weights."""
    if not start:
        return "empty: its download went wrong"
    if start.startswith(LFS_MARK):
        return LFS_PROBLEM.removeprefix("it is ")
    if _begins_safetensors(start):
        return ""
    if start[TAR_MARK[0]] == TAR_MARK[1]:
        return "a tar archive: unpack it first"
    if start.lstrip()[:1] == b"<":
        return "a web page, not weights: its download went wrong"
    return next((kind for mark, kind in STARTS.items() if start.startswith(mark)), "")


def _begins_safetensors(start: bytes) -> bool:
    """Return whether a file begins with the length of a JSON object, and the object."""
    length = struct.unpack("<Q", start[:8])[0] if len(start) > 8 else 0
    return start[8:9] == b"{" and 0 < length < MAX_BYTES


def kind_of(path: Path) -> str:
    """Return the format of a weights file: ``safetensors``, ``npz``, or ``pickle`` for torch's.

    Raises `UserError` for a zip file of another kind, and for one that would unpack to far more
    than its size; neither torch nor Google compresses.
    """
    start = _read_start(path)
    if _begins_safetensors(start) or (path.suffix == ".safetensors" and start[:2] != b"PK"):
        return SAFETENSORS
    if not zipfile.is_zipfile(path):
        return "pickle"
    try:
        with zipfile.ZipFile(path) as packed:
            entries = packed.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return "pickle"  # torch says what is wrong with it
    _require_packed(sum(entry.file_size for entry in entries), path)
    return _kind_of_zip([entry.filename for entry in entries], path)


def _require_packed(unpacked: int, path: Path) -> None:
    if unpacked > MAX_GROWTH * path.stat().st_size + SLACK:
        raise UserError(f"{path} would unpack to {unpacked:,} bytes, which is not a weights file")


def _kind_of_zip(names: Collection[str], path: Path) -> str:
    if any(name.endswith("/constants.pkl") for name in names):
        raise UserError(
            f"{path} is a TorchScript program, not a state dict: "
            "save torch.jit.load(FILE).state_dict() to a file of its own"
        )
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    if any(name.endswith("data.pkl") for name in names):
        return "pickle"
    shown = ", ".join(sorted(names)[:3]) or "nothing"
    raise UserError(f"{path} is a zip archive of {shown}: unpack it, and name the weights in it")


FOREIGN_NAMES = {  # of tensors, and whose they are: timm converts none of these
    r"(^|\.)embeddings\.patch_embedding": "a Hugging Face model (ViTModel or its kin)",
    r"(^|\.)embedder\.embed(der|ding)\.": "a Hugging Face model (ResNetModel or its kin)",
    r"(^|\.)lora_[AB]\.|(^|\.)base_model\.model\.": "an adapter of PEFT's without its backbone",
    r"(^|\.)conv_proj\.|encoder_layer_0\.|(^|\.)features\.0\.0\.": "a model of torchvision's",
    r"(^|\.)patch_embed\.projection\.|(^|\.)layers\.0\.ln1\.": "a model of OpenMMLab's",
    r"(^|/)kernel(:0)?$": "a model of TensorFlow's or Flax's",
}


def foreign_kind(names: Collection[Any]) -> str:
    """Return whose model has tensors of these names, where timm does not convert it."""
    kinds = {re.compile(pattern): kind for pattern, kind in FOREIGN_NAMES.items()}
    texts = [name for name in names if isinstance(name, str)]
    found = (kind for p, kind in kinds.items() if any(p.search(name) for name in texts))
    return next(found, "")


def tensors_of(content: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file's content by name; raises `UserError` for odd ones.

    A tensor may claim any shape over few values, or a layout that nothing here computes with.
    """
    found = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if len(found) > MAX_TENSORS:
        raise UserError(f"{path} has {len(found):,} tensors; at most {MAX_TENSORS:,} are allowed")
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
