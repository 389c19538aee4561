"""Tensors of official implementations, and the parameters of ours that correspond to them.

The stored numbers are outside the project (see the `shared` fixture), one file per method: the
tensors, with the layer as first axis, and the official code's logits and gradients.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from timm.models import VisionTransformer
from torch import Tensor

from methods import Method, create


class Place(NamedTuple):
    """The place of a tensor: a parameter's path, ``{}`` for the layer, and some of its rows."""

    path: str
    rows: slice = slice(None)

    def of(self, model: VisionTransformer) -> list[tuple[torch.nn.Parameter, slice]]:
        """Our parameters that hold the tensor, one a layer, or a single one for the network."""
        depth = len(model.blocks) if "{}" in self.path else 1
        return [(model.get_parameter(self.path.format(i)), self.rows) for i in range(depth)]


class Official(NamedTuple):
    """A stored file, our method for it, and the places of its tensors."""

    file: str
    method: Method
    places: dict[str, Place]


def _in_blocks(paths: dict[str, str]) -> dict[str, Place]:
    return {name: Place(f"blocks.{{}}.{path}") for name, path in paths.items()}


def _ssf() -> dict[str, Place]:
    layers = {
        "patch_embed": "patch_embed.proj",
        "norm1": "blocks.{}.norm1",
        "qkv": "blocks.{}.attn.qkv",
        "attn_proj": "blocks.{}.attn.proj",
        "norm2": "blocks.{}.norm2",
        "fc1": "blocks.{}.mlp.fc1",
        "fc2": "blocks.{}.mlp.fc2",
        "norm": "norm",
    }
    kinds = ("scale", "shift")
    return {
        f"{name}_{kind}": Place(f"{at}.{kind}") for name, at in layers.items() for kind in kinds
    }


def _snf() -> dict[str, Place]:
    own = {
        "mu": "mu",
        "logsigma": "log_sigma",
        "w": "planar.0.w",
        "b": "planar.0.b",
        "u": "planar.0.u",
    }
    return _in_blocks(
        {
            f"{at}_{name}": f"{at}_flow.{path}"
            for at in ("attn", "mlp")
            for name, path in own.items()
        }
    )


def _fact_tt(rank: int) -> dict[str, Place]:
    qkv = "blocks.{}.attn.qkv.middle.sigma"
    thirds = {
        f"sigma_{name}": Place(qkv, slice(i * rank, (i + 1) * rank)) for i, name in enumerate("qkv")
    }
    others = {
        "sigma_proj": "attn.proj.middle.sigma",
        "sigma_fc1": "mlp.fc1.middle.sigma",
        "sigma_fc2": "mlp.fc2.middle.sigma",
    }
    shared = {name: Place(f"blocks.0.attn.qkv.factors.{name}") for name in ("u", "v")}
    return {**shared, **thirds, **_in_blocks(others)}


OFFICIAL = {
    "ssf": Official("ssf", create("ssf"), _ssf()),
    "lora_noah": Official(
        "lora_noah_qkv",
        create("lora_noah"),
        _in_blocks({"lora_a": "attn.qkv.update.a", "lora_b": "attn.qkv.update.b"}),
    ),
    "adapter_noah": Official(
        "adapter_noah",
        create("adapter_noah"),
        _in_blocks(
            {
                "down_weight": "mlp.adapter.down.weight",
                "down_bias": "mlp.adapter.down.bias",
                "up_weight": "mlp.adapter.up.weight",
                "up_bias": "mlp.adapter.up.bias",
            }
        ),
    ),
    "fact_tt": Official("fact_tt", create("fact_tt", rank=8), _fact_tt(8)),
    "snf": Official("snf", create("snf", flow_length=1), _snf()),
}


def stored(shared: Path, file: str) -> dict[str, Tensor]:
    """The arrays of a stored file."""
    with np.load(shared / "golden" / "outputs" / f"{file}.npz", allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def images(shared: Path) -> Tensor:
    """The images that the official implementations saw, (4, 3, 224, 224).

    A processor without AVX2 draws them with other last digits.
    """
    drawn = torch.randn(4, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        checksum(drawn), stored(shared, "baseline")["images_checksum"], rtol=1e-4, atol=0
    )
    return drawn


def checksum(drawn: Tensor) -> Tensor:
    return torch.stack([drawn.double().sum(), drawn.double().abs().sum()])


def double_precision(shared: Path, drawn: Tensor) -> float:
    """How far scores in float64 may be from the official ones.

    1e-9, where the images are the official ones to the bit; else what the last digits of float32
    images make of the scores.
    """
    official = stored(shared, "baseline")["images_checksum"]
    return 1e-9 if torch.allclose(checksum(drawn), official, rtol=1e-12, atol=0) else 1e-4


def ours(shared: Path, official: Official, dtype: torch.dtype) -> VisionTransformer:
    """ViT-Ti/16 with our method and the official implementation's tensors."""
    model = timm.create_model("vit_tiny_patch16_224", num_classes=10).requires_grad_(False)
    weights = load_file(shared / "weights" / "vit_tiny_patch16_224.safetensors")
    model.load_state_dict({k: v for k, v in weights.items() if "head" not in k}, strict=False)
    official.method.attach(model)
    given = stored(shared, official.file)
    with torch.no_grad():
        model.head.weight.copy_(given["head_weight"])
        model.head.bias.copy_(given["head_bias"])
        for name, place in official.places.items():
            holders = place.of(model)
            for (parameter, rows), value in zip(
                holders, _by_layer(given[name], holders), strict=True
            ):
                parameter[rows] = value.view_as(parameter[rows])
    return model.to(dtype).eval()


def gradients(model: VisionTransformer, official: Official, shown: Tensor) -> dict[str, Tensor]:
    """Ours at the places of theirs, of the mean cross-entropy with the labels 0, 1, 2, 3."""
    model.requires_grad_(True)
    F.cross_entropy(model(shown), torch.arange(len(shown))).backward()
    found = {"head_weight": model.head.weight.grad, "head_bias": model.head.bias.grad}
    for name, place in official.places.items():
        found[name] = torch.stack([parameter.grad[rows] for parameter, rows in place.of(model)])
    return found


def _by_layer(tensor: Tensor, holders: list) -> list[Tensor]:
    return list(tensor) if len(holders) > 1 else [tensor]
