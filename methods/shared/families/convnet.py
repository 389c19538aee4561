"""timm's ConvNeXt and ResNet: stages of convolutional blocks, without tokens or attention."""

from collections.abc import Callable, MutableSequence, Sequence
from typing import Any

from timm.models import ConvNeXt, ResNet
from torch import nn

from methods.shared.base import Unsupported
from methods.shared.forward_steps import (
    ForwardStep,
    children_in_turn,
    forward_steps,
    modules_in_turn,
)
from methods.shared.image_input import enlarge_images, image_size, replace_image_layer
from methods.shared.stages import StagedBlocks, stage_lengths
from methods.shared.structure import (
    blocks_of,
    final_norms,
    is_transformer,
    pooling_of,
    replace_head_drop,
)

RESNET_STAGES = "layer1", "layer2", "layer3", "layer4"


def _stages(model: Any) -> Sequence[nn.Sequential]:
    if isinstance(model, ConvNeXt):
        return [stage.blocks for stage in model.stages]
    return [getattr(model, name) for name in RESNET_STAGES]


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
        raise Unsupported(f"the image size of this {type(model).__name__} is unknown")
    _, height, width = settings["input_size"]
    return height, width


@enlarge_images.register(ConvNeXt)
@enlarge_images.register(ResNet)
def _(model: Any, pixels: int) -> None:
    """Do nothing: the network takes images of any size."""


# ---- ConvNeXt


@forward_steps.register
def _(model: ConvNeXt) -> list[ForwardStep]:
    stages: list[ForwardStep] = []
    for i in range(len(model.stages)):
        stages += modules_in_turn(model, f"stages.{i}.downsample")
        stages += children_in_turn(model, f"stages.{i}.blocks")
    head = children_in_turn(model, "head")  # in the order of their use
    return [*modules_in_turn(model, "stem"), *stages, *modules_in_turn(model, "norm_pre"), *head]


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


@forward_steps.register
def _(model: ResNet) -> list[ForwardStep]:
    if model.drop_rate:
        return []  # its dropout is no module
    stem = (model.conv1, model.bn1, model.act1, model.maxpool)
    return [
        ForwardStep("stem", nn.Sequential(*stem), stem),  # act1 may work in place
        *(step for name in RESNET_STAGES for step in children_in_turn(model, name)),
        *modules_in_turn(model, "global_pool", "fc"),
    ]


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
