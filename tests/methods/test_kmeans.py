"""K-means of tokens: as good as scikit-learn's, for tokens of every kind."""

import pytest
import torch
from sklearn.cluster import KMeans

from bench.config import recipe
from bench.config.backbone import load_backbone
from bench.data import builtin_tasks
from bench.models import backbones
from methods.shared import kmeans
from methods.shared.kmeans import cluster_centres
from methods.shared.patch_tokens import block_inputs


def inertia(tokens, centres):
    return distances(tokens, centres).square().sum().item()


def distances(tokens, centres):
    """Of each token to the nearest centre, (N,): a product of matrices would cancel digits."""
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cdist(tokens.double(), centres.double(), compute_mode=exact).amin(1)


def mean_of_seeds(tokens, count, seeds=4):
    found = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        found.append(inertia(tokens, cluster_centres(tokens, count)))
    return sum(found) / seeds


def scikit_learn_s(tokens, count, seeds=4):
    fits = [KMeans(count, n_init=1, random_state=seed).fit(tokens.numpy()) for seed in range(seeds)]
    return sum(inertia(tokens, torch.tensor(fit.cluster_centers_)) for fit in fits) / seeds


def grouped(groups=8, each=400, width=16, apart=5.0, seed=0):
    """Tokens around the corners of a cube, (groups x each, width)."""
    generator = torch.Generator().manual_seed(seed)
    corners = apart * torch.randn(groups, width, generator=generator)
    around = torch.randn(groups * each, width, generator=generator)
    return corners.repeat(each, 1) + around


@pytest.fixture
def small_sample(monkeypatch):
    """Seeds come from a small part of the tokens, as they do of a large layer's."""
    monkeypatch.setattr(kmeans, "MIN_SAMPLE_SIZE", 256)
    monkeypatch.setattr(kmeans, "SAMPLES_PER_CLUSTER", 16)


@pytest.fixture(scope="module")
def vit_tokens():
    """The tokens of 200 digits at the first, a middle and the last block of vit_mini_mae."""
    backbone = backbones.resolve(load_backbone("vit_mini_mae"))
    model = backbones.load(backbone, 10, recipe.load_recipe("unified"))
    pixels = torch.tensor(builtin_tasks.digits()["trainval"].images[:200])  # (B, H, W, 3)
    images = pixels.permute(0, 3, 1, 2) / 127.5 - 1
    layers = block_inputs(model, images.split(64), count=4, last=5)
    return {i: tokens.flatten(0, 1).clone() for i, tokens in layers if i in (0, 3, 5)}


@pytest.mark.parametrize("apart", [0.0, 1.0, 10.0])
def test_inertia_is_within_a_percent_of_scikit_learn_s(apart, small_sample):
    tokens = grouped(apart=apart)
    assert mean_of_seeds(tokens, 8) <= 1.01 * scikit_learn_s(tokens, 8)


@pytest.mark.sample(1)
@pytest.mark.parametrize("layer", [0, 3, 5])
def test_inertia_on_tokens_of_a_backbone_is_within_a_percent_of_scikit_learn_s(vit_tokens, layer):
    tokens = vit_tokens[layer]
    assert mean_of_seeds(tokens, 20) <= 1.01 * scikit_learn_s(tokens, 20)


def test_a_seed_fixes_the_clusters_and_another_changes_them():
    tokens, found = grouped(apart=0.0), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(cluster_centres(tokens, 5))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_one_cluster_is_the_mean(dtype):
    tokens = grouped().to(dtype)
    found = cluster_centres(tokens, 1)
    assert found.dtype == dtype
    torch.testing.assert_close(found[0], tokens.double().mean(0).to(dtype))


def test_as_many_clusters_as_tokens_are_the_tokens():
    tokens = torch.randn(30, 6)
    found = cluster_centres(tokens, 30)
    assert distances(tokens, found).max() < 1e-5  # taken from their middle, and put back


@pytest.mark.parametrize("copies", [1, 40, 400])
def test_fewer_distinct_tokens_than_clusters_are_all_found_and_nothing_is_amiss(
    copies, small_sample
):
    tokens = torch.randn(3, 6).repeat(copies * 3, 1)
    found = cluster_centres(tokens, 9)
    assert found.isfinite().all()
    # a mean of n equal tokens is a sum in float32, in the order that the processor's product takes
    off = (len(tokens) + 4) * torch.finfo(tokens.dtype).eps
    assert inertia(tokens, found) <= off**2 * tokens.double().square().sum()


def test_equal_tokens_end_at_once(monkeypatch):
    passes, assign = [], kmeans._assign
    monkeypatch.setattr(kmeans, "_assign", lambda *args: passes.append(1) or assign(*args))
    assert torch.equal(cluster_centres(torch.full((500, 4), 3.0), 5), torch.full((5, 4), 3.0))
    assert len(passes) <= 2 * (kmeans.N_INIT + 1)


def test_clusters_keep_their_digits_far_from_the_origin():
    tokens = grouped(groups=4, apart=10.0)
    torch.manual_seed(0)
    near = inertia(tokens, cluster_centres(tokens, 4))
    torch.manual_seed(0)
    far = inertia(tokens + 1e4, cluster_centres(tokens + 1e4, 4))
    assert far == pytest.approx(near, rel=0.01)


def test_an_empty_cluster_restarts_at_the_token_farthest_from_its_centre():
    tokens = torch.tensor([[0.0], [1.0], [2.0], [50.0]])
    points = kmeans.CentredPoints(tokens, torch.zeros(1))
    centres = torch.tensor([[1.0], [1000.0], [2000.0]])
    clusters = kmeans._initial_state(points, centres)
    kmeans._assign(points, centres, clusters)
    moved, repaired = kmeans._update_centres(points, centres, clusters)
    assert repaired
    assert moved[:2].flatten().tolist() == [13.25, 50.0]
    assert moved[2].item() in (0.0, 2.0)  # both are as far
    final, _ = kmeans._lloyd(points, centres)
    assert sorted(final.flatten().tolist()) in ([0.0, 1.5, 50.0], [0.5, 2.0, 50.0])


@pytest.mark.long
@pytest.mark.parametrize("values", [1, 16, 1000])
def test_chunks_change_nothing_beyond_rounding(values, monkeypatch):
    tokens = grouped().double()
    torch.manual_seed(0)
    whole = cluster_centres(tokens, 8)
    monkeypatch.setitem(kmeans.CHUNK_VALUES, "cpu", values)
    torch.manual_seed(0)
    torch.testing.assert_close(cluster_centres(tokens, 8), whole, rtol=0, atol=1e-9)


def test_no_chunk_holds_more_than_its_share():
    points = kmeans.CentredPoints(torch.zeros(2**12, 768), torch.zeros(768))
    for clusters in (1, 20, 5000):
        width = max(768, clusters)
        assert all(len(part) * width <= 2**20 for part in points.chunks(clusters))


def test_the_backbone_s_tokens_are_left_as_they_were(vit_tokens, small_sample):
    tokens = vit_tokens[3].clone()
    cluster_centres(tokens, 5)
    assert torch.equal(tokens, vit_tokens[3])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finds_clusters_as_good(vit_tokens):
    tokens = vit_tokens[3]
    found = cluster_centres(tokens.cuda(), 20).cpu()
    assert inertia(tokens, found) <= 1.02 * mean_of_seeds(tokens, 20)
