"""The layers of a block by role: queries, keys and values, the MLP, and norms."""

from functools import singledispatch
from typing import Any

from torch import nn

from methods.shared.structure import blocks_of

NORMS = "norm1", "norm2"


@singledispatch
def qkv_layers(attn: object) -> tuple[str, ...]:
    """Return the names, in an attention, of the layers that make queries, keys and values."""
    return ("qkv",)


@singledispatch
def mlp_layers(mlp: object) -> tuple[tuple[str, ...], str]:
    """Return the names, in an MLP, of the layers that read its input, and of its last layer."""
    return ("fc1",), "fc2"


def attention_inputs(block: Any) -> tuple[str, ...]:
    """Return the layers that make queries, keys and values: all in one, or one each."""
    return tuple(f"attn.{name}" for name in qkv_layers(getattr(block, "attn", None)))


def mlp_inputs(block: Any) -> tuple[str, ...]:
    """Return the linear layers that read the MLP's input."""
    return tuple(f"mlp.{name}" for name in mlp_layers(getattr(block, "mlp", None))[0])


def output_layers(block: Any) -> tuple[str, str]:
    """Return the last linear layers of attention and of MLP."""
    return "attn.proj", f"mlp.{mlp_layers(getattr(block, 'mlp', None))[1]}"


def attention_layers(block: Any) -> tuple[str, ...]:
    """Return the linear layers of a block's attention."""
    return *attention_inputs(block), output_layers(block)[0]


def feedforward_layers(block: Any) -> tuple[str, ...]:
    """Return the linear layers of a block's MLP."""
    return *mlp_inputs(block), output_layers(block)[1]


def linear_layers(block: Any) -> tuple[str, ...]:
    """Return a block's linear layers, in the order of its forward pass."""
    return *attention_layers(block), *feedforward_layers(block)


def projections_in(block: Any, name: str) -> int:
    """Return the number of projections that a linear layer makes: 3 of queries, keys and values."""
    return 3 if attention_inputs(block) == (name,) else 1


def names_in_plain_vit(model: nn.Module) -> dict[str, str]:
    """Return, for each of these blocks' modules, the name of its counterpart in a plain ViT."""
    own = {id(module): name for name, module in model.named_modules()}
    plain: dict[str, str] = {}
    for i, block in enumerate(blocks_of(model)):
        roles = {
            **dict.fromkeys(attention_inputs(block), "attn.qkv"),
            **dict.fromkeys(mlp_inputs(block), "mlp.fc1"),
            **dict(zip(output_layers(block), ("attn.proj", "mlp.fc2"), strict=True)),
        }
        for name, module in block.named_modules():
            plain[own[id(module)]] = f"blocks.{i}.{roles.get(name, name)}"
    return plain
