"""The structure of a backbone, as methods see it: its blocks, tokens, layers and head.

Methods call these functions and never name a family of backbones; each family (`families/`)
registers what they mean for timm's classes, and never names a method. What a family does not
register is unsupported, in one sentence.
"""

from collections.abc import Callable, MutableSequence, Sequence
from functools import singledispatch
from typing import Any

from torch import Tensor, nn

from methods.shared.base import Unsupported

Positions = dict[str, Any]
"""Keyword arguments that a model passes to a block beside its tokens, such as ``rope``."""


# ---- what every family registers


@singledispatch
def blocks_of(model: nn.Module) -> MutableSequence[Any]:
    """Return the blocks in the order of the forward pass; assigning to an item replaces a block."""
    raise Unsupported(
        f"this method works on the blocks of a backbone, and {type(model).__name__} has none "
        "that it knows"
    )


def families() -> list[str]:
    """Return the names of timm's classes of which subclasses, too, can be backbones."""
    return sorted(kind.__name__ for kind in blocks_of.registry if kind is not object)


def belongs_to_family(kind: type) -> bool:
    """Return whether models of this class can be backbones."""
    return blocks_of.dispatch(kind) is not blocks_of.dispatch(object)


# ---- what a family registers where it has it


@singledispatch
def pooling_of(model: Any) -> str:
    """Return how the model pools its features, in timm's words: ``token``, ``avg`` or ``map``."""
    return str(model.global_pool)


def head_of(model: Any) -> nn.Linear:
    """Return the model's linear head; raises `Unsupported` if it has another, or several."""
    head = model.get_classifier()
    if not isinstance(head, nn.Linear):
        kinds = [type(one).__name__ for one in (head if isinstance(head, tuple) else [head])]
        raise Unsupported(
            f"{type(model).__name__} has {' and '.join(kinds)} as its head; one Linear was expected"
        )
    return head


@singledispatch
def prefix_tokens(model: nn.Module) -> int:
    """Return the number of tokens before the patches: class and register tokens."""
    raise _no_tokens(model)


@singledispatch
def add_positions(model: nn.Module, patches: Tensor) -> Tensor:
    """Turn the output of the patch embedding into the input of the first block, (B, N, D)."""
    raise _no_tokens(model)


@singledispatch
def positions_by_block(model: nn.Module) -> Sequence[Positions]:
    """Return what the model passes to each of its blocks beside the tokens."""
    return [{} for _ in blocks_of(model)]


@singledispatch
def patch_inputs(model: nn.Module) -> int:
    """Return the number of input values from which a patch token is made, such as 3 · 16 · 16."""
    raise _no_tokens(model)


@singledispatch
def patch_grid(model: nn.Module) -> tuple[int, int]:
    """Return height and width of the grid of patches that every block sees."""
    raise _no_tokens(model)


@singledispatch
def final_norms(model: nn.Module) -> Sequence[nn.Module]:
    """Return the norms between the last block and the head."""
    raise Unsupported(f"the final norm of {type(model).__name__} is not known to this method")


@singledispatch
def replace_head_drop(model: nn.Module, build: Callable[[nn.Module], nn.Module]) -> None:
    """Replace the head's dropout, which sees the pooled feature, (B, D), by ``build(dropout)``."""
    raise Unsupported(f"the head of {type(model).__name__} is not known to this method")


def map_feature(model: nn.Module, *modules: nn.Module) -> None:
    """Let `modules` map the pooled feature, (B, D), before the head's dropout and linear layer."""
    replace_head_drop(model, lambda drop: nn.Sequential(*modules, drop))


@singledispatch
def remarks(model: nn.Module) -> Sequence[str]:
    """Return what a user should know of how methods meet this model, a sentence each."""
    return []


@singledispatch
def pooled_features(model: nn.Module) -> int:
    """Return how many features of an image go to the head: one, or one for each of its heads."""
    return 1


def feature_width(model: Any) -> int:
    """Return the number of channels of the pooled feature."""
    return int(model.num_features)


@singledispatch
def block_width(block: nn.Module) -> int:
    """Return the number of channels of a block's tokens."""
    raise unknown_block(block)


@singledispatch
def is_pre_norm(block: nn.Module) -> bool:
    """Return whether a block is ``x + attn(norm1(x))``, then ``x + mlp(norm2(x))``, scaled or not.

    Its two updates are `attention_update` and `mlp_update`.
    """
    return False


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


@singledispatch
def biases_of(module: nn.Module) -> Sequence[nn.Parameter | None]:
    """Return the biases that a module itself holds, without those of its children."""
    return [getattr(module, "bias", None)]


@singledispatch
def expose_layers(block: nn.Module) -> None:
    """Make the block call each of its linear layers as a module, so that it can be replaced.

    The outputs do not change. Some of timm's blocks otherwise read the weight of a layer.
    """


def embed_images(model: Any, images: Tensor) -> Tensor:
    """Compute the first block's input: prefix tokens, then patches with positions, (B, N, D)."""
    return add_positions(model, model.patch_embed(images))


def unknown_block(block: nn.Module) -> Unsupported:
    """Return the error for a block whose steps are not known."""
    attention = type(getattr(block, "attn", None)).__name__
    return Unsupported(
        f"this method computes timm's Block with its Attention; these are {type(block).__name__} "
        f"with {attention}"
    )


def _no_tokens(model: nn.Module) -> Unsupported:
    return Unsupported(
        f"this method works on a sequence of patch tokens, and {type(model).__name__} has none "
        "that it knows"
    )
