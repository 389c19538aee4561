"""A whole run against a plain loop that is written out here: losses, and what it then predicts."""

import json
from math import cos, pi

import pytest
import tiny
import torch
import torch.nn.functional as F
from noting import as_listed

from bench import backbones, cards, cli
from bench.predictions import read
from bench.runner import ORDER
from methods import create

pytestmark = pytest.mark.usefixtures("no_picture")

EPOCHS, WARMUP, BATCH, SEED = 4, 1, 16, 2
RISE, STEPS = WARMUP * 3, EPOCHS * 3  # 40 images make 3 batches, the last of 8
RATE, FLOOR = 0.02, 0.001
OPTIMISERS = {
    "adamw": torch.optim.AdamW,
    "sgd": lambda groups: torch.optim.SGD(groups, momentum=0.9),
}


def rate(step: int, peak: float) -> float:
    """Up in a line over the first epoch, step by step, then down as a cosine."""
    if step < RISE:
        return peak * (step + 1) / RISE
    return FLOOR + (peak - FLOOR) * (1 + cos(pi * (step - RISE) / (STEPS - RISE))) / 2


def start(card, method: str):
    """The model as a run of this seed begins."""
    recipe = cards.load_recipe("quick")
    torch.manual_seed(SEED)
    model = backbones.load(backbones.resolve(cards.load_backbone(str(card))), 2, recipe)
    backbones.use_plain_attention(model)
    create(method).attach(model)
    return model


def parts(model, decay: float, of_head: float) -> list[dict]:
    """Matrices decay, those of the head by their own; vectors do not."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in model.parameters() if p.requires_grad and p.ndim == 1]
    body = [p for p in matrices if p is not model.head.weight]
    groups = [(body, decay), ([model.head.weight], of_head), (vectors, 0.0)]
    return [{"params": found, "weight_decay": share} for found, share in groups if found]


def by_hand(model, images, labels, optimiser, peak: float) -> list[float]:
    """The mean loss of each epoch."""
    order, step, losses = torch.Generator().manual_seed(SEED + ORDER), 0, []
    for _ in range(EPOCHS):
        seen = torch.randperm(len(images), generator=order)
        torch.randint(2**62, (), generator=order)  # what a random view would draw from
        of_steps = []
        for rows in seen.split(BATCH):
            for group in optimiser.param_groups:
                group["lr"] = rate(step, peak)
            loss = F.cross_entropy(model.train()(images[rows]), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            of_steps.append(loss.item())
            step += 1
        losses.append(sum(of_steps) / len(of_steps))
    return losses


def says(**changes: object) -> list[str]:
    return [word for name, value in changes.items() for word in ("--set", f"{name}={value}")]


@pytest.mark.parametrize("per_batch", [0, 32])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("method", ["linear", "full"])
def test_a_run_is_the_plain_loop(cards, tmp_path, method, optimiser, per_batch):
    decays = {"weight_decay": 0.5, "head_weight_decay": 2.0}
    lr = RATE if optimiser == "sgd" else RATE / 4
    changes = {"epochs": EPOCHS, "warmup_epochs": WARMUP, "batch": BATCH, "lr": lr, **decays,
               "min_lr": FLOOR, "optimiser": optimiser, "lr_per_batch": per_batch}  # fmt: skip
    words = tiny.command("run", cards, tmp_path, method, "--seeds", str(SEED), *says(**changes))
    assert cli.main(words) == 0
    [path] = (tmp_path / "records").rglob("*.json")
    record = json.loads(path.read_text())

    model = start(cards / "small.toml", method)
    images, labels = as_listed(cards / "data" / "light", "train.txt", "val.txt")
    peak = lr * BATCH / per_batch if per_batch else lr
    made = OPTIMISERS[optimiser](parts(model, decays["weight_decay"], decays["head_weight_decay"]))
    # float32 sums in another order, a hundred steps of training at the most: 1e-3 is a lot, and
    losses = by_hand(model, images, labels, made, peak)
    # float32 sums in another order: here 1e-6 apart, so 1e-4 on any processor
    assert record["outcome"]["losses"] == pytest.approx(losses, rel=1e-4)
    with torch.no_grad():
        scores = model.eval()(as_listed(cards / "data" / "light", "test.txt")[0])
    kept = read(tmp_path / "predictions" / f"{record['cell']}.npz")
    sure = (scores[:, 0] - scores[:, 1]).abs() > 1e-2  # of the others rounding decides
    assert sure.sum() > 8
    assert kept.classes[sure].tolist() == scores.argmax(1)[sure].tolist()
