"""DA-VPT: prompts drawn to the images of their classes, and classes mapped to prompts."""

import pytest
import timm
import torch
import torch.nn.functional as F

import methods
from bench.models import small_models
from methods.davpt import DAVPT, GuidedBlock
from methods.shared.class_map import ClassMap, cosine_clusters
from methods.shared.prompts import prompts_of
from support import official_numbers


def prepared(name="da_vpt", **fields):
    method = methods.create(name, **{"prompts": 4, **fields})
    return method, small_models.prepare_copy(method, small_models.small_backbone())


def step(method, model):
    """The loss of a training step on one batch, and its images and labels."""
    images, labels = small_models.FakeBatches().batches[0]
    return method.loss(model.train(), model, images, labels), images, labels


def prompted_blocks(model):
    """The blocks that hold prompts, of which some are guided."""
    return [block.block if isinstance(block, GuidedBlock) else block for block in model.blocks]


def test_it_is_deep_prompts_whose_training_has_another_loss():
    method, model = prepared(patch_weight=0.0, class_weight=0.0)
    loss, images, labels = step(method, model)
    plain = methods.create("vpt_deep", prompts=4)
    twin = small_models.prepare_copy(plain, small_models.small_backbone())
    with torch.no_grad():
        for theirs, ours in zip(prompts_of(twin), prompted_blocks(model), strict=True):
            theirs.copy_(ours.prompts)
    assert torch.equal(twin.eval()(images), model.eval()(images))
    torch.testing.assert_close(loss, F.cross_entropy(twin(images), labels))


def test_the_loss_is_proxy_anchor_by_hand():
    method = DAVPT(prompts=3, sharpness=2.0, margin=0.1, prompt_scale=1.5)
    tokens, proxies = torch.randn(4, 6), torch.randn(3, 6)
    own = F.one_hot(torch.tensor([0, 0, 2, 0]), 3).bool()
    cosines = 1.5 * F.cosine_similarity(tokens[:, None], proxies, dim=2)
    near = [torch.exp(-2.0 * (cosines[own[:, p], p] - 0.1)).sum().log1p() for p in range(3)]
    far = [torch.exp(2.0 * (cosines[~own[:, p], p] + 0.1)).sum().log1p() for p in range(3)]
    assert near[1] == 0  # no image: it counts in the mean nevertheless
    expected = (sum(near) + sum(far)) / 3
    torch.testing.assert_close(method._proxy_anchor(tokens, proxies, own), expected)


def test_training_by_the_metric_loss_alone_brings_images_to_their_prompts():
    method, model = prepared(class_weight=0.0, patch_weight=1.0, guided=1)
    images, labels = small_models.FakeBatches().batches[0]
    last = model.blocks[-1]
    prompts = last.block.prompts
    optimiser, found = torch.optim.Adam([prompts], lr=0.01), []
    for _ in range(60):
        optimiser.zero_grad()
        method.loss(model.train(), model, images, labels).backward()
        optimiser.step()
        model(images)
        mean = last.patches.pop()
        cosines = F.cosine_similarity(mean[:, None], prompts, dim=2)
        own = last.class_map.prompt_of[labels]
        found.append((cosines.gather(1, own[:, None]).mean() - cosines.mean()).item())
    assert found[-1] > found[0] + 0.05


def test_only_guided_blocks_hand_over_features_and_only_in_training():
    _, model = prepared(guided=2)
    guided = [isinstance(block, GuidedBlock) for block in model.blocks]
    assert guided == [False, True, True]
    model.eval()(small_models.FakeBatches().batches[0][0])
    with pytest.raises(RuntimeError, match="nothing was handed over"):
        model.blocks[-1].patches.pop()


def test_a_step_keeps_no_activation():
    method, model = prepared()
    step(method, model)
    for block in model.blocks[1:]:
        for slot in (block.patches, block.query):
            with pytest.raises(RuntimeError, match="nothing was handed over"):
                slot.pop()


def test_classes_are_mapped_by_the_mean_features_of_the_frozen_backbone():
    bare = small_models.small_backbone()
    batches = small_models.FakeBatches()
    with torch.no_grad():
        features = torch.cat(
            [bare.forward_head(bare.forward_features(x), True) for x, _ in batches]
        )
    labels = torch.cat([y for _, y in batches])
    _, model = prepared(prompts=2)
    expected = ClassMap(small_models.CLASSES, 2, features.shape[1])
    expected.observe(features, labels)
    means = (expected.sums / expected.counts.clamp(min=1)[:, None])[expected.counts > 0]
    normed = F.layer_norm(means, means.shape[1:])
    found = model.blocks[-1].class_map
    cosines = F.cosine_similarity(normed[:, None], found.centres, dim=2)
    assert torch.equal(found.prompt_of[expected.counts > 0], cosines.argmax(1))


def test_the_map_is_renewed_after_its_first_epoch_and_forgets():
    method, model = prepared(prompts=2, remap_from=2)
    class_map = model.blocks[-1].class_map
    before = class_map.prompt_of.clone()
    for epoch, renewed in ((1, False), (2, True)):
        step(method, model)
        assert class_map.counts.sum() == small_models.IMAGES
        centres = class_map.centres
        method.after_epoch(model, epoch)
        assert class_map.counts.sum() == 0
        assert (class_map.centres is not centres) is renewed
        assert renewed or torch.equal(class_map.prompt_of, before)


def test_a_map_of_all_classes_to_one_prompt_is_not_taken_over():
    class_map = ClassMap(3, 2, 4)
    before = class_map.prompt_of.clone()
    class_map.observe(torch.tensor([[1.0, 0, 0, 0]]).expand(3, 4), torch.arange(3))
    class_map.renew()
    assert torch.equal(class_map.prompt_of, before)


def test_with_fewer_classes_than_prompts_the_further_ones_are_not_guided():
    class_map = ClassMap(3, 20, 4)
    assert class_map.prompts == 3
    assert class_map.prompt_of.tolist() == [0, 1, 2]


def test_the_map_is_in_no_checkpoint():
    _, model = prepared()
    assert not [name for name in model.state_dict() if "class_map" in name]


def test_biases_of_keys_cannot_learn_and_those_of_values_can():
    with small_models.double_precision():
        method = methods.create("da_vpt_plus", prompts=4)
        bare = small_models.small_backbone().double()
        model = small_models.prepare_copy(method, bare)
        images, labels = small_models.FakeBatches(torch.float64).batches[0]
        method.loss(model.train(), model, images, labels).backward()
    biases = [p for n, p in model.named_parameters() if n.endswith("qkv.bias")]
    assert len(biases) == 3
    for bias in biases:
        keys, values = bias.grad.chunk(2)
        assert keys.abs().max() < 1e-12 < 1e-6 < values.abs().max()


def test_a_backbone_without_a_class_token_is_refused():
    model = timm.create_model(
        "vit_tiny_patch16_224", depth=2, class_token=False, global_pool="avg", num_classes=3
    )
    with pytest.raises(methods.Unsupported, match="guides prompts by the class token"):
        methods.create("da_vpt").attach(model)


def test_k_means_by_cosine_is_that_of_the_official_code():
    expected = official_numbers.stored("davpt")["kmeans"]
    points = official_numbers.drawn("class means", (30, 8))
    normed = F.layer_norm(points, (8,))
    nearest, centres = cosine_clusters(normed, 6, normed[::5])
    assert nearest.tolist() == expected["nearest"]
    assert centres.flatten().tolist() == pytest.approx(expected["centres"], abs=1e-12)


def test_a_centre_without_points_stays():
    points = torch.tensor([[1.0, 0.0], [0.9, 0.1]])
    far = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    nearest, centres = cosine_clusters(points, 2, far)
    assert nearest.tolist() == [0, 0]
    assert torch.equal(centres[1], far[1])


@pytest.mark.parametrize(("name", "unit"), [("da_vpt", False), ("da_vpt_plus", True)])
def test_logits_loss_and_gradients_are_those_of_the_official_code(name, unit):
    official = official_numbers.stored("davpt")
    method, model = methods.create(name, prompts=5, unit_prompts=unit), official_numbers.network()
    method.attach(model)
    model.double()
    class_map = model.blocks[-1].class_map
    class_map.prompt_of.copy_(torch.tensor(official["classes"]))
    learnt = {"head.weight": model.head.weight, "head.bias": model.head.bias}
    for i, prompted in enumerate(prompted_blocks(model)):
        learnt[f"prompts.{i}"] = prompted.prompts
        if name == "da_vpt_plus":
            learnt[f"biases.{i}"] = prompted.block.attn.qkv.bias
    official_numbers.fill({n: p for n, p in learnt.items() if not n.startswith("biases")})
    images, labels = official_numbers.batch()
    with torch.no_grad():
        logits = model.eval()(images)
    loss = method.loss(model.train(), model, images, labels)
    loss.backward()
    numbers = {
        "logits": logits.tolist(),
        "loss": loss.item(),
        "gradients": official_numbers.gradient_numbers({n: p.grad for n, p in learnt.items()}),
    }
    expected = {key: official[name][key] for key in numbers}
    assert official_numbers.largest_difference(numbers, expected) < 1e-9
