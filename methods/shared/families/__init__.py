"""Families of timm's backbones: one file each says what their structure is. None names a method."""

from methods.shared.families import beit, convnet, deit, eva, mlps, relpos, swin, vit

__all__ = ["beit", "convnet", "deit", "eva", "mlps", "relpos", "swin", "vit"]
