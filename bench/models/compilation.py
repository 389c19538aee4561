"""torch.compile for a model's blocks, where a recipe asks for it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from timm.models import VisionTransformer

from bench.utils.errors import UserError, first_line

RECOMPILE_LIMIT = (
    64  # that a block may be compiled in: another for each of the blocks, at worst, and mode
)


class NotCompiled(Exception):
    """torch.compile cannot make one graph of a block."""


@contextmanager
def compiled_blocks(model: VisionTransformer) -> Iterator[None]:
    """Within, each block of `model` is compiled when it is first called; afterwards none is.

    A block that is not one graph, or needs more than `FORMS`, raises `NotCompiled`: a record that
    says compiled means all blocks.
    """
    from torch import _dynamo as dynamo  # a second, which no other run needs to spend

    for block in model.blocks:
        block.compile(fullgraph=True)
    limits = dynamo.config.patch(recompile_limit=RECOMPILE_LIMIT, fail_on_recompile_limit_hit=True)
    try:
        with limits, warnings.catch_warnings():
            # tracing looks at the gradients of what is passed between blocks, and warns of it
            warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")
            yield
    except dynamo.exc.TorchDynamoException as error:
        raise NotCompiled(
            f"torch.compile makes no one graph of a block of this method: {first_line(error)}"
        ) from error
    finally:
        for block in model.blocks:
            block._compiled_call_impl = None


def require_compiler(device: torch.device) -> None:
    """Raise `UserError` where torch.compile has nothing to compile with for a device."""
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
