"""Methods that select and rescale give the official code's logits, gradients and choices.

The numbers were computed by the code named in each file of `tests/golden/official`, in float64, for
the tensors that `support.redrawn` draws.
"""

import pytest
import torch
import torch.nn.functional as F

import methods
from methods import gps
from methods.shared.gradients import add_up_gradients
from support import redrawn

WITHOUT_DROPOUT = {"dropout": 0.0, "drop_path": 0.0}
CASES = {
    "arc": ("arc", {"dropout": 0.0}),
    "rlrr": ("rlrr", {}),
    "snell": ("snell", {**WITHOUT_DROPOUT, "sparsity": 0.3}),
    "snell_dense": ("snell", {**WITHOUT_DROPOUT, "sparsity": 0}),
}
FORMS = ["sensitivity_lora", "sensitivity_adapter"]


def shown_batches():
    """Two batches of 32 images, with labels."""
    return [
        (redrawn.images(32, 3000 + i), (torch.arange(32) * 7 + i) % redrawn.CLASSES)
        for i in range(2)
    ]


def require_same(model, golden):
    """Hold logits and gradients of the mean cross-entropy to the official code's."""
    shown = redrawn.images()
    logits = model(shown)
    torch.testing.assert_close(logits.tolist(), golden["logits"], rtol=0, atol=1e-9)
    F.cross_entropy(logits, torch.arange(len(shown))).backward()
    found = {n: redrawn.summary(p.grad) for n, p in redrawn.own_parameters(model).items()}
    assert found.keys() == golden["gradients"].keys()
    for name, expected in golden["gradients"].items():
        torch.testing.assert_close(found[name], expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_logits_and_gradients_are_the_official_code_s(case):
    name, fields = CASES[case]
    model = redrawn.attached(methods.create(name, **fields))
    require_same(model, redrawn.golden(case))


@pytest.fixture(params=FORMS)
def chosen(request):
    """A model with the choice of a form of sensitivity-aware tuning, and the official numbers."""
    golden = redrawn.golden(request.param)
    fields = {"budget": golden["budget"], "alpha": golden["alpha"], "batches": 2}
    model = redrawn.small_vit()
    methods.create(request.param, **fields, **WITHOUT_DROPOUT).prepare(model, shown_batches())
    return model, golden


def test_sensitivity_chooses_what_the_official_code_chooses(chosen):
    model, golden = chosen
    own = redrawn.own_parameters(model)
    assert sum(p.numel() for p in own.values()) == golden["trained"]
    structured = [
        [
            any(name.startswith(f"blocks.{i}.{at}.added.{part}.") for name in own)
            for at, parts in (("attn.qkv", 3), ("attn.proj", 1), ("mlp.fc1", 1), ("mlp.fc2", 1))
            for part in range(parts)
        ]
        for i in range(redrawn.DEPTH)
    ]
    assert structured == [[bool(one) for one in block] for block in golden["structured"]]


def test_sensitivity_s_logits_and_gradients_are_the_official_code_s(chosen):
    model, golden = chosen
    require_same(redrawn.redraw(model), golden)


def test_gps_chooses_the_official_code_s_entries(monkeypatch):
    golden, turn = redrawn.golden("gps"), iter(range(4))
    monkeypatch.setattr(gps, "random_view", lambda x: x.flip(-1) if next(turn) % 2 else x)
    model = redrawn.small_vit()
    methods.create("gps", entries=golden["entries"]).prepare(model, shown_batches())
    for name, expected in golden["places"].items():
        places = model.get_submodule(name).weight_entries.places.long().sort().values
        found = [len(places), int(places.sum()), *places[:4].tolist(), *places[-4:].tolist()]
        assert found == expected, name


def test_gps_s_loss_is_the_official_code_s():
    model = redrawn.small_vit()
    losses = []
    for images, labels in shown_batches():
        views = torch.cat([images, images.flip(-1)])
        features = model.forward_head(model.forward_features(views), pre_logits=True)
        losses.append(float(gps.supervised_contrastive_loss(features, labels)))
    assert losses == pytest.approx(redrawn.golden("gps")["losses"], abs=1e-9)


def test_gradients_are_added_up_over_batches():
    model = redrawn.small_vit()
    weights = {"norm.weight": model.norm.weight}

    def losses():
        return (F.cross_entropy(model(images), labels) for images, labels in shown_batches())

    one = [add_up_gradients(model, weights, [loss])["norm.weight"] for loss in _each(model)]
    torch.testing.assert_close(
        add_up_gradients(model, weights, losses(), torch.square)["norm.weight"],
        one[0].square() + one[1].square(),
    )


def _each(model):
    model.norm.weight.requires_grad_(True)
    return [F.cross_entropy(model(images), labels) for images, labels in shown_batches()]
