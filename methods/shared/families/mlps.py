"""timm's MLPs with two first layers, one of which gates the other."""

from timm.layers import SwiGLU
from timm.models.vitamin import GeGluMlp

from methods.shared.block_layers import mlp_layers


@mlp_layers.register
def _(mlp: SwiGLU) -> tuple[tuple[str, ...], str]:
    return ("fc1_g", "fc1_x"), "fc2"


@mlp_layers.register
def _(mlp: GeGluMlp) -> tuple[tuple[str, ...], str]:
    return ("w0", "w1"), "w2"
