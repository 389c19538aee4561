"""Weights files: reading, hashing, and adapter state dicts.

An adapter state dict holds only the tensors that a cell trained or added: kilobytes, to be loaded
over the backbone. Source of the idea: "Storing Visual Prompts", Jia et al., 2022,
https://arxiv.org/abs/2203.12119.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from bench.models import pickled_weights, state_dicts, weight_checks
from bench.models.training_mode import moving_statistics
from bench.utils.errors import UserError, first_line
from bench.utils.files import sha256_of_file
from methods import Method
from methods.shared.base import Model
from methods.shared.entries import take_shapes

_known_finite = set[str]()  # sha256 of files that were checked


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, computed once per process."""
    return _cached_sha256(path, path.stat().st_mtime_ns)


@cache
def _cached_sha256(path: Path, _changed: int) -> str:
    return sha256_of_file(path)


def read(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a weights file by dotted name, as `state_dicts.flatten` has them.

    Raises `UserError` if it is no file of safetensors or of `torch.save`.
    """
    weight_checks.require_weights_file(path)
    kind = weight_checks.kind_of(path)
    if kind == "npz":
        raise UserError(f"{path} is an .npz: weights of a method were expected in safetensors")
    content = _load_safetensors(path) if kind == "safetensors" else pickled_weights.read(path)
    if not isinstance(content, Mapping):
        raise UserError(f"{path} contains a {type(content).__name__}, not a state dict")
    return weight_checks.tensors_of(state_dicts.flatten(content), path)


def _load_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except Exception as error:  # the format's reader raises many kinds
        raise UserError(f"{path} cannot be read as weights: {first_line(error)}") from None


def require_finite(weights: Mapping[str, Tensor], path: Path, place: str = "") -> None:
    """Raise `UserError` for a value that is not finite in float32.

    Checked once per process for each file content, and each `place` of a state dict in it.
    """
    content = f"{sha256(path)} {place}"
    if content in _known_finite:
        return
    for name, values in weights.items():
        if not values.is_floating_point():
            continue
        count = int((~values.float().isfinite()).sum())
        if count:
            raise UserError(
                f"{path}: {count} of the {values.numel()} values of {name} are not finite (NaN, or "
                "beyond float32): no network can start from them"
            )
    _known_finite.add(content)


def tensor_ids(model: Model) -> set[int]:
    """Return the identities of the model's tensors, for `adapter_state_dict`."""
    return {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}


def adapter_state_dict(model: Model, backbone_ids: set[int]) -> dict[str, Tensor]:
    """Return, on the CPU, the tensors that are trainable or not among those of the backbone.

    A tensor that several modules share has the first of its names.
    """
    names: dict[int, str] = {}
    state = model.state_dict(keep_vars=True)
    moved = {id(tensor) for tensor in moving_statistics(model)}
    for name, tensor in state.items():
        if tensor.requires_grad or id(tensor) not in backbone_ids - moved:
            names.setdefault(id(tensor), name)
    return {name: _on_cpu(state[name].detach()) for name in names.values()}


def stored_tensors(method: Method, model: Model, backbone_ids: set[int]) -> dict[str, Tensor]:
    """Return what a file holds of a trained model: its adapter state dict, packed by the method."""
    packed = method.pack(model, adapter_state_dict(model, backbone_ids))
    return {name: _on_cpu(tensor) for name, tensor in packed.items()}


def _on_cpu(tensor: Tensor) -> Tensor:
    """Return the tensor in one piece on the CPU, or where it is on the meta device."""
    return (tensor if tensor.is_meta else tensor.cpu()).contiguous()


def num_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Return the size of the tensors' values."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def load_adapter_state(model: Model, tensors: dict[str, Tensor]) -> None:
    """Load an adapter state dict into a model to which the same method was attached.

    Raises `UserError` if names or shapes are not those of this method.
    """
    take_shapes(model, tensors)
    state = model.state_dict()
    for name, tensor in tensors.items():
        if name not in state or state[name].shape != tensor.shape:
            raise UserError(f"{name}, {tuple(tensor.shape)}, does not exist in this method's model")
    missing = [n for n, p in model.named_parameters() if p.requires_grad and n not in tensors]
    if missing:
        raise UserError(
            f"{missing[0]} is trainable in this method's model and missing from the file"
        )
    model.load_state_dict(tensors, strict=False)
