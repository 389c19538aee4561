"""timm's ConvNeXt and ResNet: stages of convolutional blocks, without tokens or attention."""

from collections.abc import Callable, MutableSequence, Sequence
from typing import Any

from timm.models import ConvNeXt, ResNet
from torch import nn

from methods.shared.base import Unsupported
from methods.shared.image_input import enlarge_images, image_size, replace_image_layer
from methods.shared.stages import StagedBlocks, stage_lengths
from methods.shared.structure import (
    blocks_of,
    final_norms,
    is_transformer,
    pooling_of,
    replace_head_drop,
)


def _stages(model: Any) -> Sequence[nn.Sequential]:
    if isinstance(model, ConvNeXt):
        return [stage.blocks for stage in model.stages]
    return [model.layer1, model.layer2, model.layer3, model.layer4]


@blocks_of.register(ConvNeXt)
@blocks_of.register(ResNet)
def _(model: Any) -> MutableSequence[Any]:
    return StagedBlocks(_stages(model))


@stage_lengths.register(ConvNeXt)
@stage_lengths.register(ResNet)
def _(model: Any) -> Sequence[int]:
    return [len(stage) for stage in _stages(model)]


@is_transformer.register(ConvNeXt)
@is_transformer.register(ResNet)
def _(model: Any) -> bool:
    return False


@image_size.register(ConvNeXt)
@image_size.register(ResNet)
def _(model: Any) -> tuple[int, int]:
    settings = getattr(model, "pretrained_cfg", None) or {}
    if "input_size" not in settings:
        raise Unsupported(f"it is not known what size of images this {type(model).__name__} gets")
    _, height, width = settings["input_size"]
    return height, width


@enlarge_images.register(ConvNeXt)
@enlarge_images.register(ResNet)
def _(model: Any, pixels: int) -> None:
    """Do nothing: the network takes images of any size."""


# ---- ConvNeXt


@pooling_of.register
def _(model: ConvNeXt) -> str:
    return str(model.head.global_pool.pool_type)


@final_norms.register
def _(model: ConvNeXt) -> Sequence[nn.Module]:
    return model.norm_pre, getattr(model.head, "norm", nn.Identity())


@replace_head_drop.register
def _(model: ConvNeXt, build: Callable[[nn.Module], nn.Module]) -> None:
    model.head.drop = build(model.head.drop)


@replace_image_layer.register
def _(model: ConvNeXt, build: Callable[[nn.Module], nn.Module]) -> None:
    model.stem[0] = build(model.stem[0])


# ---- ResNet


@pooling_of.register
def _(model: ResNet) -> str:
    return str(model.global_pool.pool_type)


@final_norms.register
def _(model: ResNet) -> Sequence[nn.Module]:
    return []


@replace_head_drop.register
def _(model: ResNet, build: Callable[[nn.Module], nn.Module]) -> None:
    # its dropout is no module, and comes after what stands here
    model.global_pool = nn.Sequential(model.global_pool, build(nn.Identity()))


@replace_image_layer.register
def _(model: ResNet, build: Callable[[nn.Module], nn.Module]) -> None:
    model.conv1 = build(model.conv1)
