"""Patch tokens of each layer: one forward pass, and the memory of one layer, on any storage."""

import os
import subprocess
import sys
from weakref import ref

import pytest
import torch

import methods
from bench.models import small_models
from bench.utils.files import REPO_ROOT
from methods.shared import patch_tokens
from methods.shared.prompts import prompts_of
from support import small_vits

STRATEGIES = ("spt_deep", "spt_deep_mean", "spt_deep_max", "spt_deep_kmeans")
MEMORY = """
import sys, timm, torch
import methods
from bench.training import devices

class Shown:
    def __init__(self, batches): self.batches = batches
    def __len__(self): return self.batches
    def __iter__(self):
        for _ in range(self.batches): yield torch.randn(8, 3, 128, 128), torch.zeros(8)

def prepare(batches):
    model = timm.create_model("vit_tiny_patch16_224", img_size=128, patch_size=8, depth=2)
    devices.reset_peak_memory(cpu)
    before = devices.peak_memory_mb(cpu)
    methods.create(sys.argv[1], share=1.0).prepare(model, Shown(batches))
    return devices.peak_memory_mb(cpu) - before

torch.set_num_threads(1)
cpu = torch.device("cpu")
prepare(batches=4)  # what is set up once is not counted
print(prepare(batches=80) / (80 * 8 * 256 * 192 * 4 / 2**20))
"""


def started(name, **fields):
    """The prompts that a method starts with, of ten batches of images."""
    torch.manual_seed(3)
    model = small_models.small_backbone()
    methods.create(name, share=1.0, **fields).prepare(model, small_models.FakeBatches(count=10))
    return torch.stack([p.detach() for p in prompts_of(model)])


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_batch_passes_each_block_but_the_last_once(name):
    model, calls = small_models.small_backbone(), []
    for i, block in enumerate(model.blocks):
        block.register_forward_hook(lambda *_, i=i: calls.append(i))
    methods.create(name, share=1.0).prepare(model, small_models.FakeBatches(count=10))
    assert calls == [0] * 10 + [1] * 10


@pytest.mark.parametrize("name", STRATEGIES)
def test_images_are_not_kept(name):
    given, alive = [], []

    class Watched(small_models.FakeBatches):
        def __iter__(self):
            for images, labels in super().__iter__():
                alive.append(sum(one() is not None for one in given))
                images = images.clone()
                given.append(ref(images))
                yield images, labels

    methods.create(name, share=1.0).prepare(small_models.small_backbone(), Watched(count=10))
    assert len(given) == 10
    assert max(alive) <= 1


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("percent", [10, 30, 50, 70, 100])
def test_a_share_of_the_images_is_all_that_is_seen(name, percent):
    model, seen = small_models.small_backbone(), []
    model.patch_embed.register_forward_hook(lambda *args: seen.append(len(args[1][0])))
    methods.create(name, share=percent / 100).prepare(model, small_models.FakeBatches(count=20))
    assert len(seen) == percent / 5


@pytest.mark.parametrize("name", STRATEGIES)
def test_tokens_that_do_not_fit_lie_in_a_file_and_give_the_same_prompts(name, monkeypatch):
    here = started(name)
    monkeypatch.setattr(patch_tokens, "free_memory", lambda device: 0)
    with pytest.warns(UserWarning, match="they lie in a file in .*, which is slower"):
        assert torch.equal(started(name), here)


def test_tokens_that_fit_nowhere_are_refused_in_a_sentence(monkeypatch):
    monkeypatch.setattr(patch_tokens, "free_memory", lambda device: 0)
    monkeypatch.setattr(patch_tokens, "disk_usage", lambda folder: type("Usage", (), {"free": 0}))
    with pytest.raises(MemoryError, match="take a smaller share, or set TMPDIR"):
        started("spt_deep")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_file_holds_any_kind_of_number(dtype, monkeypatch):
    monkeypatch.setattr(patch_tokens, "free_memory", lambda device: 0)
    with pytest.warns(UserWarning, match="in a file"):
        place = patch_tokens.allocate((2, 3), dtype, torch.device("cpu"))
    place.copy_(torch.arange(6).view(2, 3))
    assert place.dtype == dtype
    assert place.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_the_mode_of_the_model_is_given_back_even_to_who_stops_early():
    model = small_models.small_backbone().train()
    layers = patch_tokens.block_inputs(
        model, [small_models.FakeBatches().batches[0][0]], count=1, last=2
    )
    next(layers)
    layers.close()
    assert model.training


def test_clusters_of_some_tokens_are_others_than_those_of_all_and_seeded():
    some = [started("spt_deep_kmeans", tokens=200) for _ in range(2)]
    assert torch.equal(*some)
    assert not torch.equal(some[0], started("spt_deep_kmeans"))


def test_fewer_tokens_than_clusters_are_refused_in_a_sentence():
    with pytest.raises(ValueError, match="20 prompts need as many tokens; 19 was given"):
        methods.create("spt_deep_kmeans", tokens=19)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is told by Linux alone")
@pytest.mark.parametrize("name", STRATEGIES)
def test_the_peak_is_little_more_than_a_layer_s_tokens(name):
    words = [sys.executable, "-c", MEMORY, name]
    at_once = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"}  # what is freed is given back
    done = subprocess.run(
        words, cwd=REPO_ROOT, env=at_once, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 1.3


@pytest.mark.sample(10)
@pytest.mark.parametrize("vit", list(small_vits.MODELS))
def test_they_are_timm_s_own_intermediate_tokens_in_every_vit(vit, double_precision):
    model, images = small_vits.build(vit), small_vits.images(4)
    with torch.no_grad():
        after = model.forward_intermediates(images, output_fmt="NLC", intermediates_only=True)
        layers = patch_tokens.block_inputs(model, images.split(2), count=2, last=2)
        found = [tokens.clone() for i, tokens in layers if i > 0]
    for tokens, wanted in zip(found, after, strict=True):
        torch.testing.assert_close(tokens, wanted, rtol=0, atol=1e-10)
