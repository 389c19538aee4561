"""How a process computes: TF32, cuDNN's choice of kernels, deterministic algorithms.

What shifts a number beyond rounding is the precision of a recipe, and so part of a cell's digest:
``fp32``, ``tf32`` or ``bf16``. The choice of a kernel changes the order of sums alone: a record's
environment names it.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.backends import cuda, cudnn

from bench.utils.errors import UserError

# cuBLAS is deterministic with workspaces of a fixed size, which it reads once, at its start
CUBLAS_WORKSPACES = ":4096:8"
TF32_CAPABILITY = (8, 0)  # the compute capability that brought TF32


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """Multiply matrices and convolve in TF32 if that is the precision, and only then.

    PyTorch's own default lets cuDNN convolve fp32 tensors, such as the patches of a ViT, in TF32.
    """
    before = cuda.matmul.allow_tf32, cudnn.allow_tf32
    is_tf32 = precision == "tf32"
    _allow_tf32(is_tf32, is_tf32)
    try:
        yield
    finally:
        _allow_tf32(*before)


def _allow_tf32(in_matmul: bool, in_cudnn: bool) -> None:
    with warnings.catch_warnings():  # torch 2.9 warns of these names; torch.compile reads no other
        warnings.simplefilter("ignore")
        cuda.matmul.allow_tf32, cudnn.allow_tf32 = in_matmul, in_cudnn


@contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """Let PyTorch use only deterministic algorithms, if they are wanted.

    Inside, an operator that has none raises `RuntimeError`, with its name.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS_WORKSPACES)
    before = torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        cudnn.deterministic, cudnn.benchmark = before[1:]


def require_tf32(device: torch.device) -> None:
    """Raise `UserError` if the device has no TF32."""
    if device.type != "cuda":
        raise UserError(
            f"precision tf32 needs an NVIDIA GPU, and the device is {device}: choose fp32 or bf16"
        )
    if torch.cuda.is_available() and torch.cuda.get_device_capability(device) < TF32_CAPABILITY:
        name = torch.cuda.get_device_name(device)
        raise UserError(f"precision tf32 needs a GPU from Ampere on, and this is a {name}")


def require_no_override(precision: str) -> None:
    """Raise `UserError` if NVIDIA's variable would change the recorded precision."""
    forced = os.environ.get("NVIDIA_TF32_OVERRIDE", "")
    if forced == ("0" if precision == "tf32" else "1"):
        raise UserError(
            f"NVIDIA_TF32_OVERRIDE={forced} would turn TF32 {'on' if forced == '1' else 'off'} in "
            f"cells of precision {precision}: unset it"
        )


def describe(device: torch.device) -> dict[str, Any]:
    """Describe, for a record's environment, what chooses among kernels."""
    about: dict[str, Any] = {
        "attention": _attention_kernels(device),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
    if device.type == "cuda":
        about |= {"cudnn": cudnn.version(), "cudnn_benchmark": cudnn.benchmark}
        about["compute_capability"] = ".".join(map(str, torch.cuda.get_device_capability(device)))
    return about


def _attention_kernels(device: torch.device) -> str:
    """Name the attention kernels that PyTorch may choose from, or timm's explicit products."""
    from timm.layers import use_fused_attn  # slow to import

    if not use_fused_attn():
        return "matmul and softmax"
    enabled = {
        "flash": cuda.flash_sdp_enabled(),
        "efficient": device.type == "cuda" and cuda.mem_efficient_sdp_enabled(),
        "cudnn": device.type == "cuda" and cuda.cudnn_sdp_enabled(),
        "math": cuda.math_sdp_enabled(),
    }
    return "fused: " + ", ".join(name for name, is_on in enabled.items() if is_on)
