"""A small copy of every kind of ViT that timm has, with random weights in double precision."""

from typing import Any

import timm
import torch
from packaging.version import Version
from torch import nn

PIXELS, CLASSES = 32, 5
SMALL = {"img_size": PIXELS, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": CLASSES}
PATCHES = {"patch_size": 8}

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("vit_tiny_patch16_224", PATCHES),
    "vit_registers": ("vit_base_patch14_reg4_dinov2", PATCHES),
    "vit_averaged": ("vit_base_patch16_reg4_gap_256", PATCHES),
    "clip": ("vit_base_patch16_clip_224", PATCHES),
    "siglip_map": ("vit_base_patch16_siglip_224", PATCHES),
    "aimv2": ("aimv2_large_patch14_224", PATCHES),
    "dinov2_swiglu": ("vit_giant_patch14_dinov2", PATCHES),
    "post_norm": ("vit_base_patch16_rpn_224", PATCHES),
    "parallel_scaling": ("vit_base_patch16_xp_224", PATCHES),
    "parallel_things": ("vit_small_patch16_18x2_224", PATCHES),
    "differential": ("vit_dwee_patch16_reg1_gap_256", PATCHES),
    "differential_parallel": ("vit_dpwee_patch16_reg1_gap_256", PATCHES),
    "vitamin": ("vitamin_small_224", {"embed_dim": 384, "num_heads": 6}),
    "mci": ("vit_base_mci_224", {"embed_dim": 768, "num_heads": 6}),
    "deit_distilled": ("deit_tiny_distilled_patch16_224", PATCHES),
    "deit3": ("deit3_small_patch16_224", PATCHES),
    "beit": ("beit_base_patch16_224", PATCHES),
    "beitv2": ("beitv2_base_patch16_224", {**PATCHES, "global_pool": "token"}),
    "beit_shared": (
        "beit_base_patch16_224",
        {**PATCHES, "use_rel_pos_bias": False, "use_shared_rel_pos_bias": True},
    ),
    "beit_swiglu": ("beit_base_patch16_224", {**PATCHES, "swiglu_mlp": True, "scale_mlp": True}),
    "relpos": ("vit_relpos_small_patch16_224", PATCHES),
    "relpos_class_token": ("vit_relpos_base_patch16_cls_224", PATCHES),
    "relpos_bias_table": ("vit_relpos_small_patch16_224", {**PATCHES, "rel_pos_type": "bias"}),
    "relpos_shared": ("vit_srelpos_small_patch16_224", PATCHES),
    "relpos_post_norm": ("vit_relpos_base_patch16_rpn_224", PATCHES),
    "eva": ("eva_large_patch14_196", PATCHES),
    "eva02_fused": ("eva02_tiny_patch14_224", PATCHES),
    "eva02_unfused": ("eva02_base_patch14_224", PATCHES),
    "eva02_clip": ("eva02_base_patch16_clip_224", PATCHES),
    "eva_post_norm": ("eva02_enormous_patch14_clip_224", PATCHES),
    "eva_post_norm_rope": (
        "eva02_enormous_patch14_clip_224",
        {**PATCHES, "use_rot_pos_emb": True},
    ),
    "dinov3": ("vit_base_patch16_dinov3", PATCHES),
    "dinov3_biased": ("vit_base_patch16_dinov3_qkvb", PATCHES),
    "dinov3_swiglu": ("vit_huge_plus_patch16_dinov3", PATCHES),
    "rope_mixed": ("vit_base_patch16_rope_mixed_224", PATCHES),
    "rope": ("vit_base_patch16_rope_ape_224", PATCHES),
    "pe_core": ("vit_pe_core_base_patch16_224", PATCHES),
    "pe_spatial": ("vit_pe_spatial_base_patch16_512", PATCHES),
    "grouped_queries": (
        "vit_base_patch16_sapiens2",
        {**PATCHES, "num_heads": 4, "num_kv_heads": 2},
    ),
}

if Version(timm.__version__) < Version("1.0.31"):
    del MODELS["rope_mixed"]  # cannot be in double precision there
    del MODELS["grouped_queries"]  # is not there


def build(name: str, fused: bool = True) -> Any:
    """The model called `name`, frozen but for its head; no weight is at a telling value."""
    timm_name, changed = MODELS[name]
    torch.manual_seed(0)
    model: Any = timm.create_model(timm_name, **{**SMALL, **changed}).double().eval()
    for parameter in model.parameters():
        shift = 0.1 if parameter.ndim < 2 else 0.05
        parameter.data.add_(torch.randn_like(parameter) * shift)
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = fused
    model.requires_grad_(False)
    for head in heads(model):
        head.requires_grad_(True)
    return model


def heads(model: Any) -> tuple[nn.Module, ...]:
    """The model's linear heads: one, or two."""
    found = model.get_classifier()
    return found if isinstance(found, tuple) else (found,)


def images(count: int = 3) -> torch.Tensor:
    """Images of noise, (B, 3, 32, 32)."""
    seeded = torch.Generator().manual_seed(2)
    return torch.randn(count, 3, PIXELS, PIXELS, generator=seeded, dtype=torch.float64)
