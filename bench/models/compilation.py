"""torch.compile of a model's blocks, for recipes with ``compile = true``."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bench.utils.errors import UserError, first_line
from methods.shared.base import Model
from methods.shared.structure import blocks_of

RECOMPILE_LIMIT = 64  # variants of the blocks' code: at worst, one per block and mode


class NotCompiled(Exception):
    """torch.compile cannot compile a block into one graph."""


@contextmanager
def compiled_blocks(model: Model) -> Iterator[None]:
    """Compile each block of `model` at its first call in this context; undo that at the end.

    A block that is not one graph, or needs more than `RECOMPILE_LIMIT` variants, raises
    `NotCompiled`: in a record, compiled means all blocks.
    """
    from torch import _dynamo as dynamo  # takes a second, which other runs need not spend

    for block in blocks_of(model):
        block.compile(fullgraph=True)
    limits = dynamo.config.patch(recompile_limit=RECOMPILE_LIMIT, fail_on_recompile_limit_hit=True)
    try:
        with limits, warnings.catch_warnings():
            # tracing reads the gradients of the tensors between blocks, and warns about it
            warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")
            yield
    except dynamo.exc.TorchDynamoException as error:
        raise NotCompiled(
            f"torch.compile makes no one graph of a block of this method: {first_line(error)}"
        ) from error
    finally:
        for block in blocks_of(model):
            block._compiled_call_impl = None


def require_compiler(device: torch.device) -> None:
    """Raise `UserError` if torch.compile lacks a compiler for a device."""
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler
    from torch.utils._triton import has_triton

    if device.type == "cuda" and not has_triton():
        raise UserError("compile=true was given; on cuda it needs the package triton")
    try:
        cpp_builder.get_cpp_compiler()
    except InvalidCxxCompiler:
        raise UserError(
            "compile=true was given; torch.compile needs a C++ compiler: install g++, or name one "
            "in $CXX"
        ) from None
