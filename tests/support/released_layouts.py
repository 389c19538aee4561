"""Small networks, and their weights in the layouts in which the originals were released.

Each function takes a state dict under timm's names, and returns what the original code would have
saved: the inverse of timm's conversion, written from the names of the released files.
"""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import Tensor, nn

Weights = dict[str, Tensor]
SMALL = {"embed_dim": 64, "depth": 2, "num_heads": 4}
VIT = ("vit_tiny_patch16_224", {**SMALL, "img_size": 32, "patch_size": 8})
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": VIT,
    "dinov2": ("vit_small_patch14_dinov2", {**SMALL, "img_size": 42}),
    "dinov2_reg": ("vit_small_patch14_reg4_dinov2", {**SMALL, "img_size": 42}),
    "dinov2_giant": (
        "vit_giant_patch14_reg4_dinov2",
        {"embed_dim": 96, "depth": 2, "num_heads": 4, "img_size": 42},
    ),
    "clip": ("vit_base_patch16_clip_224", {**SMALL, "img_size": 32}),
    "siglip": ("vit_base_patch16_siglip_224", {**SMALL, "img_size": 32}),
    "siglip_gap": ("vit_base_patch16_siglip_gap_224", {**SMALL, "img_size": 32}),
    "siglip_avg": ("vit_base_patch16_siglip_224", {**SMALL, "img_size": 32, "global_pool": "avg"}),
    "deit3": ("deit3_small_patch16_224", {**SMALL, "img_size": 32}),
    "ijepa": ("vit_huge_patch14_gap_224", {**SMALL, "img_size": 42}),
    "eva02": ("eva02_tiny_patch14_224", {**SMALL, "img_size": 42}),
    "dinov3": ("vit_small_patch16_dinov3", {**SMALL, "img_size": 32}),
    "dinov3_qkvb": ("vit_small_patch16_dinov3_qkvb", {**SMALL, "img_size": 32}),
    "pe": ("vit_pe_core_tiny_patch16_384", {**SMALL, "img_size": 32}),
    "beit": ("beit_base_patch16_224", {**SMALL, "img_size": 32}),
    "aimv2": ("aimv2_large_patch14_224", {**SMALL, "img_size": 42}),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "img_size": 56},
    ),
    "convnext": ("convnext_tiny", {"dims": (8, 8, 16, 16), "depths": (1, 1, 1, 1)}),
    "resnet": ("resnet18", {"layers": (1, 1, 1, 1)}),
}


def network(kind: str, classes: int = 3, seed: int = 1) -> nn.Module:
    """A small network of a kind, with weights unlike any initialisation's."""
    name, options = NETWORKS[kind]
    model = timm.create_model(name, num_classes=classes, **options)
    generator = torch.Generator().manual_seed(seed)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
    return model.eval()


def weights(kind: str, seed: int = 1) -> Weights:
    return dict(network(kind, seed=seed).state_dict())


def renamed(*rules: tuple[str, str]) -> Callable[[Weights], Weights]:
    """The names with patterns replaced, in turn."""

    def rename(state: Weights) -> Weights:
        for old, new in rules:
            state = {re.sub(old, new, name): value for name, value in state.items()}
        return state

    return rename


def prefixed(by: str, state: Weights) -> Weights:
    return {by + name: value for name, value in state.items()}


def headless(state: Weights) -> Weights:
    return {n: v for n, v in state.items() if not n.startswith(("head", "fc."))}


def dinov2(state: Weights) -> Weights:
    """DINOv2's: a mask token; registers apart; the class token's position is in the map."""
    state = {**headless(state), "mask_token": torch.zeros(1, 64)}
    state = renamed((r"mlp\.fc1\.", "mlp.w12."), (r"mlp\.fc2\.", "mlp.w3."))(state) if (
        state["blocks.0.mlp.fc1.weight"].shape[0] != state["blocks.0.mlp.fc2.weight"].shape[1]
    ) else state  # fmt: skip
    if "reg_token" in state:
        own = torch.full_like(state["cls_token"], 0.25)
        state["register_tokens"] = state.pop("reg_token")
        state["cls_token"] = state["cls_token"] - own
        state["pos_embed"] = torch.cat([own, state["pos_embed"]], 1)
    return state


CLIP_NAMES = (
    (r"^patch_embed\.proj", "conv1"),
    (r"^pos_embed", "positional_embedding"),
    (r"^cls_token", "class_embedding"),
    (r"^norm_pre", "ln_pre"),
    (r"^norm\.", "ln_post."),
    (r"^blocks\.", "transformer.resblocks."),
    (r"attn\.qkv\.", "attn.in_proj_"),
    (r"attn\.proj", "attn.out_proj"),
    (r"\.norm(\d)", r".ln_\1"),
    (r"mlp\.fc1", "mlp.c_fc"),
    (r"mlp\.fc2", "mlp.c_proj"),
    (r"\.gamma_(\d)", r".ls_\1.gamma"),
)


def clip(state: Weights) -> Weights:
    """OpenAI's and OpenCLIP's, of the vision tower."""
    state = renamed(*CLIP_NAMES)({n: v for n, v in state.items() if not n.startswith("head")})
    state["class_embedding"] = state["class_embedding"].flatten()
    state["positional_embedding"] = state["positional_embedding"][0]
    return {**state, "proj": torch.rand(64, 3)}


def whole_clip(tower: Weights, vision: str = "visual.") -> Weights:
    """Both towers."""
    text = {
        "token_embedding.weight": torch.zeros(4, 8),
        "positional_embedding": torch.zeros(4, 8),
        "transformer.resblocks.0.ln_1.weight": torch.zeros(8),
        "logit_scale": torch.zeros(()),
    }
    return {**text, **prefixed(vision, tower)}


def pe(state: Weights) -> Weights:
    """Perception Encoder's vision tower, without its attention pooling."""
    return clip({n: v for n, v in state.items() if not n.startswith("attn_pool.")})


def dinov3(state: Weights) -> Weights:
    state = renamed((r"^reg_token", "storage_tokens"), (r"gamma_(\d)", r"ls\1.gamma"))(
        headless(state)
    )
    for i in range(2):
        q = state.pop(f"blocks.{i}.attn.q_bias", torch.zeros(64))
        v = state.pop(f"blocks.{i}.attn.v_bias", torch.zeros(64))
        state[f"blocks.{i}.attn.qkv.bias"] = torch.cat([q, torch.zeros(64), v])
        state[f"blocks.{i}.attn.qkv.bias_mask"] = torch.ones(192)
    return {**state, "mask_token": torch.zeros(1, 64), "rope_embed.periods": torch.ones(4)}


def eva02_mim(state: Weights) -> Weights:
    """EVA-02's after masked-image modelling: one norm, a mask token, and another head."""
    state = renamed((r"^fc_norm", "norm"))(headless(state))
    extra = {"mask_token": torch.zeros(1, 1, 64), "lm_head.weight": torch.zeros(8, 64)}
    return {**state, **extra, "blocks.0.attn.rope.freqs_cos": torch.zeros(4, 8)}


def swin(state: Weights) -> Weights:
    """Microsoft's: patches are merged at the end of a stage, and indices are stored."""
    lower = [(rf"^layers\.{i}\.downsample", f"layers.{i - 1}.downsample") for i in (1, 2, 3)]
    state = renamed(*lower, (r"^head\.fc", "head"))(state)
    return {
        **state,
        "layers.0.blocks.0.attn.relative_position_index": torch.zeros(49, 49, dtype=torch.long),
        "layers.0.blocks.0.attn_mask": torch.zeros(4, 49, 49),
    }


convnext = renamed(
    (r"^stem\.", "downsample_layers.0."),
    (r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1."),
    (r"^stages\.(\d)\.blocks\.", r"stages.\1."),
    ("conv_dw", "dwconv"),
    (r"mlp\.fc", "pwconv"),
    (r"^head\.norm", "norm"),
    (r"^head\.fc", "head"),
)
aimv2 = renamed(
    (r"^patch_embed\.", "preprocessor.patchifier."),
    (r"^pos_embed", "preprocessor.pos_embed"),
    (r"^norm\.", "trunk.post_trunk_norm."),
    (r"^blocks\.", "trunk.blocks."),
    (r"\.norm(\d)", r".norm_\1"),
    (r"mlp\.fc1_g", "mlp.fc1"),
    (r"mlp\.fc1_x", "mlp.fc3"),
)


def google(state: Weights, prefix: str = "", stacked: bool = False) -> dict[str, np.ndarray]:
    """Google's arrays: kernels with inputs first, heads apart, and a head of 21,843 classes.

    Newer ones, of Big Vision, are `stacked`: an array has all blocks.
    """
    arrays = {n: v.numpy() for n, v in state.items()}
    heads, width = 4, arrays["patch_embed.proj.bias"].shape[0]
    found = {
        "embedding/kernel": arrays["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
        "embedding/bias": arrays["patch_embed.proj.bias"],
        "Transformer/encoder_norm/scale": arrays["norm.weight"],
        "Transformer/encoder_norm/bias": arrays["norm.bias"],
        "pos_embedding" if stacked else "Transformer/posembed_input/pos_embedding": arrays[
            "pos_embed"
        ],
        "head/kernel": np.zeros((width, 5), np.float32),
        "head/bias": np.zeros(5, np.float32),
        "pre_logits/kernel": np.zeros((width, width), np.float32),
        "pre_logits/bias": np.zeros(width, np.float32),
    }
    if "cls_token" in arrays:
        found["cls"] = arrays["cls_token"]
    blocks = [_google_block(arrays, i, heads, stacked) for i in range(2)]
    for name in blocks[0]:
        if stacked:
            found[f"Transformer/encoderblock/{name}"] = np.stack([one[name] for one in blocks])
        else:
            for i, one in enumerate(blocks):
                found[f"Transformer/encoderblock_{i}/{name}"] = one[name]
    return {prefix + name: np.ascontiguousarray(value) for name, value in found.items()}


def _google_block(
    arrays: dict[str, np.ndarray], i: int, heads: int, big_vision: bool
) -> dict[str, np.ndarray]:
    own = {n.removeprefix(f"blocks.{i}."): v for n, v in arrays.items()}
    width = own["norm1.weight"].shape[0]
    split = (heads, width // heads)
    attention, mlp, norm2 = (0, 0, 1) if big_vision else (1, 3, 2)
    at = f"MultiHeadDotProductAttention_{attention}"
    found = {
        "LayerNorm_0/scale": own["norm1.weight"],
        "LayerNorm_0/bias": own["norm1.bias"],
        f"LayerNorm_{norm2}/scale": own["norm2.weight"],
        f"LayerNorm_{norm2}/bias": own["norm2.bias"],
        f"{at}/out/kernel": own["attn.proj.weight"].T.reshape(*split, width),
        f"{at}/out/bias": own["attn.proj.bias"],
        f"MlpBlock_{mlp}/Dense_0/kernel": own["mlp.fc1.weight"].T,
        f"MlpBlock_{mlp}/Dense_0/bias": own["mlp.fc1.bias"],
        f"MlpBlock_{mlp}/Dense_1/kernel": own["mlp.fc2.weight"].T,
        f"MlpBlock_{mlp}/Dense_1/bias": own["mlp.fc2.bias"],
    }
    for j, name in enumerate(("query", "key", "value")):
        rows = slice(j * width, (j + 1) * width)
        found[f"{at}/{name}/kernel"] = own["attn.qkv.weight"][rows].T.reshape(width, *split)
        found[f"{at}/{name}/bias"] = own["attn.qkv.bias"][rows].reshape(split)
    return found


OPTIONS = argparse.Namespace(lr=np.float64(0.1), seed=np.int64(3), where=Path("data"), flags=[1])
"""Content of checkpoints beside their weights: options, and numbers of NumPy's."""
