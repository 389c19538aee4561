"""How much work the performance page measures on each kind of device."""

from dataclasses import dataclass, field
from typing import Any

from bench.performance import initialisation, scaling
from bench.performance.initialisation import CUB_IMAGES
from bench.performance.step_settings import StepSettings

BASE_NETWORK, MINI_BACKBONE = "vit_base_patch16_224", "vit_mini_mae"
ONE_SETTING = StepSettings((32,), ("fp32",))


@dataclass(frozen=True)
class WorkSizes:
    """The amount of work on a kind of device."""

    batch: int  # with `base`
    initialisation_images: int  # images that prompts are initialised from
    clustering_images: int  # images whose tokens are clustered
    throughput_backbone: str
    base: str = BASE_NETWORK
    mini: str = MINI_BACKBONE
    large: str = f"{BASE_NETWORK}@random"
    cache_work: tuple[int, int] = (1000, 100)  # images and epochs on cached features
    rounds: int = 9
    shallow: dict[str, Any] = field(default_factory=lambda: initialisation.SHALLOW_NETWORK)
    plans: dict[str, scaling.ScalingPlan] = field(default_factory=lambda: scaling.PLANS)
    settings: StepSettings = ONE_SETTING


SIZES = {
    "cpu": WorkSizes(
        batch=8,
        initialisation_images=512,
        clustering_images=CUB_IMAGES,
        throughput_backbone=MINI_BACKBONE,
    ),
    "cuda": WorkSizes(
        batch=32,
        initialisation_images=CUB_IMAGES,
        clustering_images=CUB_IMAGES,
        throughput_backbone=f"{BASE_NETWORK}@random",
        settings=StepSettings((32, 128), ("fp32", "tf32", "bf16")),
    ),
}
