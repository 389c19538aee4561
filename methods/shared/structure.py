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
def is_transformer(model: nn.Module) -> bool:
    """Return whether the blocks are made of attention and MLPs."""
    return True


def require_transformer(model: nn.Module) -> None:
    """Raise `Unsupported` unless the model is a transformer."""
    if not is_transformer(model):
        raise Unsupported(
            f"this method adapts a transformer; {type(model).__name__} is a convolutional network"
        )


@singledispatch
def pooling_of(model: Any) -> str:
    """Return how the model pools its features, in timm's words: ``token``, ``avg`` or ``map``."""
    return str(model.global_pool)


def heads_of(model: Any) -> nn.ModuleList:
    """Return the model's heads, whatever a method made of them: one, or one for each feature."""
    head = model.get_classifier()
    return nn.ModuleList(head if isinstance(head, tuple | list | nn.ModuleList) else [head])


def head_names(model: Any) -> list[str]:
    """Return the names of the model's heads among its modules."""
    heads = {id(head) for head in heads_of(model)}
    return [name for name, module in model.named_modules() if id(module) in heads]


def require_linear_heads(model: Any) -> None:
    """Raise `Unsupported` unless each of the model's heads is linear."""
    kinds = [type(head).__name__ for head in heads_of(model) if not isinstance(head, nn.Linear)]
    if kinds:
        raise Unsupported(
            f"{type(model).__name__} has {' and '.join(kinds)} as its head; Linear was expected"
        )


@singledispatch
def prefix_tokens(model: nn.Module) -> int:
    """Return the number of tokens before the patches: class and register tokens."""
    raise _no_tokens(model)


@singledispatch
def add_positions(model: nn.Module, patches: Tensor) -> Tensor:
    """Turn the output of the patch embedding into the input of the first block, (B, N, D)."""
    raise _no_tokens(model)


def position_embedding(model: Any) -> nn.Parameter | None:
    """Return what is added to the first block's input, if anything: (1, N, D) or, with prefix
    tokens, (1, P + N, D)."""
    require_tokens(model)
    embedding: nn.Parameter | None = getattr(model, "pos_embed", None)
    return embedding


def has_tokens(kind: type) -> bool:
    """Return whether models of this class give every block the same sequence of tokens."""
    return prefix_tokens.dispatch(kind) is not prefix_tokens.dispatch(object)


def require_tokens(model: nn.Module) -> None:
    """Raise `Unsupported` unless every block gets the same sequence of prefix and patch tokens."""
    prefix_tokens(model)


@singledispatch
def positions_by_block(model: nn.Module) -> Sequence[Positions]:
    """Return the arguments that the model passes to each block in addition to the tokens."""
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
    return int(getattr(model, "head_hidden_size", model.num_features))


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
    attention = getattr(block, "attn", None)
    inside = "" if attention is None else f" with {type(attention).__name__}"
    return Unsupported(
        "this method computes a block as attention and then an MLP, each on normalised tokens; "
        f"it does not know how to for {type(block).__name__}{inside}"
    )


def _no_tokens(model: nn.Module) -> Unsupported:
    return Unsupported(
        f"this method works on a sequence of patch tokens, and {type(model).__name__} has none "
        "that it knows"
    )
