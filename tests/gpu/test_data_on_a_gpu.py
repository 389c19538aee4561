"""Images, features and centres on a GPU are those of the CPU, wherever they are kept."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.cli import main
from bench.config.suite import load_suite
from bench.data.loader import BatchLoader
from bench.data.splits import load_split
from bench.data.transforms import Transform
from bench.training import feature_cache
from methods.shared import kmeans, memory
from support import run_records, tiny

CPU = torch.device("cpu")
SQUASH, RANDOM = "squash", "random_crop_flip"


def loader(cards: Path, geometry: str, device: torch.device) -> BatchLoader:
    suite = load_suite(str(cards / "tiny.toml"))
    examples = load_split(suite, suite.find("light"), "trainval", cards / "data")
    generator = torch.Generator().manual_seed(0)
    half = (0.5, 0.5, 0.5)
    view = Transform(geometry, "bicubic")
    return BatchLoader(examples, view, 32, 8, half, half, device, generator)


@pytest.mark.parametrize("geometry", [SQUASH, RANDOM])
def test_batches_on_a_gpu_are_those_of_the_cpu(
    geometry: str, cards: Path, device: torch.device
) -> None:
    on_cpu, there = loader(cards, geometry, CPU), loader(cards, geometry, device)
    for _ in range(2):
        for (images, labels), (others, their) in zip(on_cpu, there, strict=True):
            assert others.device.type == device.type
            assert torch.equal(labels, their.cpu())
            assert (images - others.cpu()).abs().max() <= 2 / 255 / 0.5  # views made there round


def test_pinned_batches_are_those_of_the_cpu(
    cards: Path, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [images for images, _ in loader(cards, RANDOM, CPU)]
    monkeypatch.setattr(memory, "free_memory", lambda _: 0.0)  # nothing is kept: all are streamed
    found = [images.cpu() for images, _ in loader(cards, RANDOM, device)]
    assert all(map(torch.equal, expected, found))


def run(cards: Path, results: Path, device: torch.device, *more: str) -> dict[str, dict]:
    words = tiny.command("run", cards, results, "linear,partial1", *more)
    words[words.index("--device") + 1] = device.type
    assert main.main(words) == 0
    return run_records.by_method(results)


def test_kept_features_give_the_numbers_of_images(
    cards: Path, tmp_path: Path, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs = ("--set", "epochs=2")
    kept = run(cards, tmp_path / "kept", device, *epochs)
    monkeypatch.setattr(feature_cache, "FREE_MEMORY_FRACTION", 0.0)
    read = run(cards, tmp_path / "read", device, *epochs)
    for method in ("linear", "partial1"):
        assert kept[method]["environment"]["read_in_training"].startswith("features")
        assert read[method]["environment"]["read_in_training"].startswith("images")
        losses = (r[method]["outcome"]["losses"] for r in (kept, read))
        assert next(losses) == pytest.approx(next(losses), rel=1e-4)


def inertia(tokens: Tensor, centres: Tensor) -> float:
    return torch.cdist(tokens, centres.to(tokens)).min(1).values.square().sum().item()


@pytest.fixture
def seeded_centres() -> Callable[[Tensor], Tensor]:
    def find(tokens: Tensor) -> Tensor:
        torch.manual_seed(0)
        return kmeans.cluster_centres(tokens, 20).cpu()

    return find


def test_k_means_on_a_gpu_is_as_good_as_on_the_cpu(
    device: torch.device, seeded_centres: Callable[[Tensor], Tensor]
) -> None:
    generator = torch.Generator().manual_seed(1)
    middles = torch.randn(20, 64, generator=generator) * 4
    tokens = middles.repeat(200, 1) + torch.randn(4000, 64, generator=generator)  # (N, D)
    on_cpu = inertia(tokens, seeded_centres(tokens))
    assert inertia(tokens, seeded_centres(tokens.to(device))) == pytest.approx(on_cpu, rel=0.01)
