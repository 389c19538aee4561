"""Pretraining of the embedded backbones: masked autoencoding and supervised classification.

The models are small Vision Transformers; the data, any folder of images with a sub-folder per
class. Sources: He et al., 2022, "Masked Autoencoders Are Scalable Vision Learners",
https://arxiv.org/abs/2111.06377; patch dropping in supervised training: Liu et al., 2022,
"PatchDropout", https://arxiv.org/abs/2208.07220.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path
from time import perf_counter

import timm
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from timm.models import VisionTransformer
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torchvision.transforms import functional as transforms

from bench.data.class_folders import list_images
from bench.data.image_files import DECODE_ERRORS, read_image_file
from bench.data.images import decode_rgb
from bench.models.backbones import use_plain_attention
from bench.utils.errors import UserError

SIDE = 32  # pixels
SIZES = {
    "micro": {"embed_dim": 64, "depth": 4, "num_heads": 2},
    "mini": {"embed_dim": 128, "depth": 6, "num_heads": 4},
}


@dataclass(frozen=True)
class PretrainingConfig:
    """The hyper-parameters of one objective."""

    epochs: int
    batch: int
    lr: float
    weight_decay: float
    betas: tuple[float, float]
    warmup_epochs: int
    mask_ratio: float  # share of the patches that the encoder does not get in training
    min_crop_area: float  # relative to the image's


OBJECTIVES = {
    "mae": PretrainingConfig(
        40, 256, 1.5e-3, 0.05, (0.9, 0.95), 4, mask_ratio=0.75, min_crop_area=0.4
    ),
    "supervised": PretrainingConfig(
        40, 256, 1.5e-3, 0.1, (0.9, 0.999), 4, mask_ratio=0.5, min_crop_area=0.3
    ),
}


@dataclass(frozen=True)
class PretrainingEpoch:
    """Loss and time of one epoch of pretraining."""

    number: int
    total: int
    loss: float
    seconds: float


class MaskedAutoencoder(nn.Module):
    """An encoder of the visible patches, and a small decoder that reconstructs the masked ones.

    The target of each masked patch is its pixels, normalised to zero mean and unit variance.
    """

    def __init__(self, encoder: VisionTransformer, mask_ratio: float, width: int, depth: int):
        super().__init__()
        self.encoder, self.mask_ratio = encoder, mask_ratio
        patches, patch = encoder.patch_embed.num_patches, encoder.patch_embed.patch_size[0]
        self.patch, self.visible_patches = patch, round(patches * (1 - mask_ratio))
        self.decoder_embed = nn.Linear(encoder.embed_dim, width)
        self.mask_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.decoder_pos_embed = nn.Parameter(torch.randn(1, patches, width) * 0.02)
        self.decoder = nn.Sequential(
            *(Block(width, num_heads=4, qkv_bias=True) for _ in range(depth))
        )
        self.decoder_pred = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 3 * patch * patch))

    def forward(self, images: Tensor, _labels: Tensor) -> Tensor:
        """Return the mean squared error over the masked patches of `images`, (B, 3, H, W)."""
        order = torch.rand(len(images), self.decoder_pos_embed.shape[1]).argsort(1)  # (B, N)
        visible, masked = order[:, : self.visible_patches], order[:, self.visible_patches :]
        encoded = self.decoder_embed(self.encode(images, visible))  # (B, visible, width)
        mask_tokens = self.mask_token.expand(len(images), masked.shape[1], -1)
        shuffled = torch.cat([encoded, mask_tokens], 1)
        tokens = (
            shuffled.gather(1, expand_index(order.argsort(1), shuffled)) + self.decoder_pos_embed
        )
        predicted = self.decoder_pred(self.decoder(tokens))  # (B, N, 3 * patch * patch)
        target = normalised_patches(images, self.patch)
        error = (predicted.float() - target).pow(2).mean(-1)  # (B, N)
        return error.gather(1, masked).mean()

    def encode(self, images: Tensor, visible: Tensor) -> Tensor:
        """Return the encoder's output for the `visible` patches, (B, visible, D)."""
        model = self.encoder
        tokens = model.patch_embed(images) + model.pos_embed[:, 1:]  # (B, N, D)
        tokens = tokens.gather(1, expand_index(visible, tokens))
        class_token = (model.cls_token + model.pos_embed[:, :1]).expand(len(images), -1, -1)
        return model.norm(model.blocks(torch.cat([class_token, tokens], 1)))[:, 1:]


class Classifier(nn.Module):
    """The backbone with a head for the folder's classes."""

    def __init__(self, encoder: VisionTransformer):
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.encoder(images).float(), labels, label_smoothing=0.1)


def expand_index(index: Tensor, like: Tensor) -> Tensor:
    """Expand `index`, (B, K), to gather whole rows of `like`, (B, N, D)."""
    return index[..., None].expand(-1, -1, like.shape[-1])


def normalised_patches(images: Tensor, patch: int) -> Tensor:
    """Return each patch's pixels at zero mean and unit variance, (B, N, 3 * patch * patch)."""
    patches = F.unfold(images, patch, stride=patch).transpose(1, 2)
    variance, mean = torch.var_mean(patches, -1, keepdim=True)
    return (patches - mean) / (variance + 1e-6).sqrt()


def read_images(folder: Path, size: int) -> tuple[Tensor, Tensor]:
    """Read all images below `folder` as uint8, (B, 3, size, size), and their classes, (B,)."""
    images, labels = zip(
        *((_load_image(path, size), label) for path, label in list_images(folder)), strict=True
    )
    return torch.stack(images), torch.tensor(labels)


def _load_image(path: Path, size: int) -> Tensor:
    try:
        return transforms.pil_to_tensor(_resize(decode_rgb(read_image_file(path)), size))
    except DECODE_ERRORS as error:
        raise UserError(f"{path} is not an image to learn from: {error}") from None


def _resize(image: Image.Image, size: int) -> Image.Image:
    return transforms.resize(image, [size, size], antialias=True)


def augment(images: Tensor, min_area: float) -> Tensor:
    """Crop each image to at least `min_area` of its area and flip it, at random; in [-1, 1]."""
    count = len(images)
    side = torch.empty(count).uniform_(min_area, 1).sqrt()
    shift = (torch.rand(count, 2) * 2 - 1) * (1 - side[:, None])
    flip = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    grid = torch.zeros(count, 2, 3)
    grid[:, 0, 0], grid[:, 1, 1], grid[:, :, 2] = side * flip, side, shift
    where = F.affine_grid(grid, list(images.shape), align_corners=False)
    pixels = images.float() / 127.5 - 1
    return F.grid_sample(pixels, where, padding_mode="reflection", align_corners=False)


def build_model(objective: str, size: str, classes: int) -> nn.Module:
    """Build the model to train for `objective`; its backbone is `.encoder`."""
    config = OBJECTIVES[objective]
    patch_drop_rate = config.mask_ratio if objective == "supervised" else 0.0
    encoder = timm.create_model(
        "vit_tiny_patch16_224",
        num_classes=classes if objective == "supervised" else 0,
        patch_drop_rate=patch_drop_rate,
        img_size=SIDE,
        patch_size=4,
        **SIZES[size],
    )
    model = (
        Classifier(encoder)
        if objective == "supervised"
        else MaskedAutoencoder(encoder, config.mask_ratio, width=64, depth=2)
    )
    use_plain_attention(model)
    return model


def pretrain(
    objective: str, size: str, folder: Path, out: Path, epochs: int | None, seed: int
) -> Iterator[PretrainingEpoch]:
    """Train on the images below `folder`, and write the backbone to `out`; yield after each epoch.

    The file is overwritten after every epoch, as fp16 safetensors without a head.
    """
    torch.manual_seed(seed)
    config = OBJECTIVES[objective]
    images, labels = read_images(folder, SIDE)
    model = build_model(objective, size, int(labels.max()) + 1)
    total = epochs or config.epochs
    optimiser = torch.optim.AdamW(
        _param_groups(model, config.weight_decay), lr=config.lr, betas=config.betas
    )
    next_lr = lr_schedule(config.lr, config.warmup_epochs, total, len(images) // config.batch)
    for epoch in range(1, total + 1):
        start = perf_counter()
        loss = _train_epoch(model, images, labels, optimiser, config, next_lr)
        save_encoder(model.encoder, out)
        yield PretrainingEpoch(epoch, total, loss, perf_counter() - start)


def lr_schedule(peak: float, warmup: int, epochs: int, steps: int) -> Callable[[], float]:
    """Return a function that gives each step's learning rate: linear warm-up, then a cosine."""
    step, warmup_steps, decay_steps = 0, warmup * steps, max(1, (epochs - warmup) * steps)

    def next_lr() -> float:
        nonlocal step
        step += 1
        if step <= warmup_steps:
            return peak * (step / warmup_steps)
        return peak * ((1 + cos(pi * ((step - warmup_steps) / decay_steps))) / 2)

    return next_lr


def _train_epoch(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    optimiser: torch.optim.Optimizer,
    config: PretrainingConfig,
    next_lr: Callable[[], float],
) -> float:
    """Train for one epoch, without the last incomplete batch; return the mean loss."""
    model.train()
    losses = []
    steps = len(images) // config.batch
    for index in torch.randperm(len(images)).split(config.batch)[:steps]:
        lr = next_lr()
        for group in optimiser.param_groups:
            group["lr"] = lr
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(augment(images[index], config.min_crop_area), labels[index])
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    return torch.stack(losses).mean().item()


def _param_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    matrices = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim != 2]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def save_encoder(encoder: VisionTransformer, out: Path) -> None:
    """Write the backbone without its head as fp16 safetensors."""
    weights = {k: v.half().contiguous() for k, v in encoder.state_dict().items() if "head" not in k}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, out)
