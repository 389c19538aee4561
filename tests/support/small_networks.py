"""Small copies of timm's networks in stages, with random weights: Swin, ConvNeXt, ResNet."""

from typing import Any

import timm
import torch
from torch import nn

from bench.models import compatibility
from bench.models.small_models import CLASSES, PIXELS
from methods import Method
from methods.peft_library import PeftLibrary

ANY_SIZE = {"pretrained_cfg_overlay": {"input_size": (3, PIXELS, PIXELS)}}
SWIN = {
    "img_size": PIXELS,
    "embed_dim": 16,
    "depths": (2, 1, 2),
    "num_heads": (2, 4, 4),
    "drop_path_rate": 0.0,
}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "swin": ("swin_tiny_patch4_window7_224", {**SWIN, "window_size": 4}),
    # 16, 8 and 4 patches a side, which these windows do not divide
    "swin_padded": ("swin_tiny_patch4_window7_224", {**SWIN, "window_size": 3}),
    "convnext": (
        "convnext_atto",
        {**ANY_SIZE, "depths": (1, 1, 2, 1), "dims": (16, 24, 32, 48), "conv_mlp": False},
    ),
    "resnet": (
        "resnet50",
        {**ANY_SIZE, "layers": (1, 1, 1, 2), "channels": (8, 16, 24, 32), "zero_init_last": False},
    ),
}


def build(name: str) -> Any:
    """The network called `name`, frozen but for its head; no weight is at a telling value."""
    timm_name, changed = NETWORKS[name]
    torch.manual_seed(0)
    model: Any = timm.create_model(timm_name, num_classes=CLASSES, **changed)
    for module in model.modules():
        if hasattr(module, "gamma") or hasattr(module, "relative_position_bias_table"):
            for parameter in module.parameters(recurse=False):
                nn.init.normal_(parameter, std=0.5)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
    nn.init.normal_(model.get_classifier().weight, std=0.02)
    model.requires_grad_(False)
    model.get_classifier().requires_grad_(True)
    return model.eval()


def on_meta(name: str, classes: int = 1) -> Any:
    """A small network, or one of timm's in full, frozen, on the meta device."""
    timm_name, changed = NETWORKS.get(name, (name, {}))
    with torch.device("meta"):
        model = timm.create_model(timm_name, num_classes=classes, **changed)
    return model.requires_grad_(False)


def refusal(method: Method, model: Any) -> str:
    """Why the method cannot be attached to the network, on the meta device; empty if it can."""
    with torch.device("meta"):
        why = compatibility.try_attach(method, model)
    peft_refuses = isinstance(method, PeftLibrary)  # a small network, by an error of its own
    assert why is None or why.__cause__ is None or peft_refuses, f"not foreseen: {why}"
    return str(why or "")
