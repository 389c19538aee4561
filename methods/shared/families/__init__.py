"""Families of timm's backbones: one file each says what their structure is. None names a method."""

from methods.shared.families import eva, vit

__all__ = ["eva", "vit"]
