"""Google's .npz files of Vision Transformers: checked, read, and converted by timm."""

import copy
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.models import state_dicts
from bench.utils.errors import UserError, first_line
from methods.shared.structure import blocks_of

KERNEL = "embedding/kernel"  # of the patch embedding: height, width, colours, channels
STACKED = "Transformer/encoderblock/LayerNorm_0/scale"  # of all blocks in one array
BLOCK = re.compile(r"(?:^|/)encoderblock_(\d+)/")


def read(path: Path, model: Any) -> dict[str, Tensor]:
    """Read the shapes of the arrays of an .npz file by name, as tensors on the meta device.

    timm reads their values (`convert`): none is pickled or larger than its entry of the archive.
    Raises `UserError` for a `model` that timm does not fill from such a file, too.
    """
    if not hasattr(model, "load_pretrained"):
        raise UserError(
            f"{path} is an .npz, Google's format of Vision Transformers; a {type(model).__name__} "
            "has none: name its weights in .safetensors or .pth"
        )
    try:
        with zipfile.ZipFile(path) as packed:
            shapes = {}
            for entry in packed.infolist():
                with packed.open(entry) as file:
                    shapes[entry.filename.removesuffix(".npy")] = _shape(file, entry.file_size)
    except Exception as error:  # zip files and headers can be damaged in many ways
        raise UserError(f"{path} cannot be read as weights: {first_line(error)}") from None
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def _shape(file: IO[bytes], size: int) -> tuple[int, ...]:
    """Return the shape that an array's header says.

    Raises `ValueError` for an array that is not plain numbers of the size of its entry.
    """
    version = np.lib.format.read_magic(file)
    reads = {(1, 0): np.lib.format.read_array_header_1_0}
    read_header = reads.get(version, np.lib.format.read_array_header_2_0)
    shape, _, dtype = read_header(file)
    if dtype.kind not in "fiu":
        raise ValueError(f"it holds an array of {dtype}; real numbers were expected")
    if file.tell() + int(np.prod(shape, dtype=object)) * dtype.itemsize != size:
        raise ValueError(f"the header of an array says {shape}, but its data have another size")
    return tuple(shape)


def convert(path: Path, arrays: Mapping[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Return the weights under the names of `model`, as its own `load_pretrained` assigns them.

    timm's loader fills a model in place and skips what it does not find. It therefore gets a copy
    filled with NaN: whatever is a number afterwards was read from the file. A norm after pooling is
    called ``norm``, as in the file.
    """
    _require_same_depth(path, arrays, model)
    twin = copy.deepcopy(model).to_empty(device="cpu")
    twin.head = nn.Identity()
    if getattr(twin, "fc_norm", None) is not None and not isinstance(twin.fc_norm, nn.Identity):
        twin.norm, twin.fc_norm = twin.fc_norm, nn.Identity()
    with torch.no_grad():
        for tensor in twin.state_dict().values():
            tensor.fill_(torch.nan)
        twin.load_pretrained(str(path))
    return {n: value for n, value in twin.state_dict().items() if not value.isnan().all()}


def patch_size(arrays: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Return height and width of the patches; empty if the file has no such array."""
    kernel = next((a for name, a in arrays.items() if name.endswith(KERNEL)), torch.empty(0))
    return tuple(kernel.shape[:2]) if kernel.ndim == 4 else ()


def _require_same_depth(path: Path, arrays: Mapping[str, Tensor], model: Any) -> None:
    """Raise `UserError` unless file and model have the same blocks: timm reads what it needs."""
    given, expected = _depth(arrays), len(blocks_of(model))
    if given != expected:
        raise UserError(f"{path} has {given} blocks; {expected} were expected")


def _depth(arrays: Mapping[str, Tensor]) -> int:
    stacked = [len(array) for name, array in arrays.items() if name.endswith(STACKED)]
    return stacked[0] if stacked else state_dicts.block_count(arrays, BLOCK)
