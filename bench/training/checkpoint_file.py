"""The file of a checkpoint: tensors and JSON in one safetensors file, with a hash of both.

What was cut short, changed or written by something else is refused: it never gives a number.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bench.models.training_tensors import tensors_sha256
from bench.utils import strict_json
from bench.utils.errors import reason
from bench.utils.files import open_regular_file

STATE, HASH = "state", "sha256"  # the entries of the file's metadata


class BadCheckpoint(Exception):
    """A file that is no whole checkpoint; the message says why, in one clause."""


def write(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write the file atomically, in place of an earlier one; raises `OSError` if it cannot be.

    The temporary file has a fixed name, so that those of killed processes do not pile up.
    """
    whole = _with_own_memory(tensors)
    text = json.dumps(state, sort_keys=True, allow_nan=False)
    part = partial_file(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        part.unlink(missing_ok=True)
        save_file(whole, part, {STATE: text, HASH: tensors_sha256(whole, text)})
        _flush(part)
        os.replace(part, path)
    except SafetensorError as error:
        raise OSError(str(error)) from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def read(path: Path) -> tuple[dict[str, Tensor], bytes]:
    """Read the tensors, on the CPU, and the text of the JSON; raises `BadCheckpoint`."""
    try:
        with open_regular_file(path):  # neither a link nor a FIFO, which would never end
            pass
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = metadata[STATE]
        if metadata[HASH] != tensors_sha256(tensors, text):
            raise BadCheckpoint("its content is not what was written")
        strict_json.parse(text)
        return tensors, text.encode()
    except KeyError:
        raise BadCheckpoint("it is a file of tensors alone") from None
    except (OSError, ValueError, SafetensorError) as error:
        raise BadCheckpoint(reason(error)) from None


def remove(path: Path) -> None:
    """Remove a checkpoint, and what a killed process left of one."""
    for file in (path, partial_file(path)):
        with suppress(OSError):  # a folder in its place, say
            file.unlink(missing_ok=True)


def partial_file(path: Path) -> Path:
    """Return the temporary file in which a checkpoint is written."""
    return path.with_name(f".{path.name}.part")


def _with_own_memory(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors on the CPU; views of one memory, which the format refuses, as copies."""
    seen, found = set[int](), {}
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        memory = value.untyped_storage()
        if memory.data_ptr() in seen or memory.nbytes() != value.nbytes:
            value = value.clone()
        seen.add(memory.data_ptr())
        found[name] = value
    return found


def _flush(path: Path) -> None:
    """Wait until a file is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
