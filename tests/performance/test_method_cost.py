"""The cost of a method, extrapolated to a suite."""

import csv

import pytest

from bench.models import frozen_trunk
from bench.performance import method_cost


def test_all_of_vtab_is_projected():
    assert method_cost.image_counts() == (19 * 1000 * 100, 387_904)


def test_a_step_of_a_method_that_looks_twice_takes_both_passes(monkeypatch):
    job = method_cost.CostJob("pace_lora", "vit_mini_mae", "quick", 4, "cpu", 1)
    one, seen = method_cost.build_model(job), []
    forward = frozen_trunk.forward_fn(one.model)
    monkeypatch.setattr(
        frozen_trunk, "forward_fn", lambda model: lambda x: seen.append(len(x)) or forward(x)
    )
    one.train_step()
    one.eval_step()
    assert seen == [8, 4]


@pytest.mark.parametrize(
    ("method", "merges"), [("lora", True), ("bias", True), ("vpt_deep", False)]
)
def test_the_merged_test_is_that_of_plain_weights(method: str, merges: bool) -> None:
    one = method_cost.build_model(
        method_cost.CostJob(method, "vit_micro_mae", "quick", 4, "cpu", 1)
    )
    one.train_step()
    twin = one.merged()
    assert (twin is not None) == merges
    if twin is not None:
        names = {type(module).__module__.split(".")[0] for module in twin.model.modules()}
        assert names <= {"torch", "timm"}
        assert twin.model is not one.model
        twin.eval_step()


def cost(backbone: str, step: float) -> method_cost.Cost:
    work = {"batch": 4, "precision": "fp32", "device": "d", "threads": 1, "torch": "2", "rounds": 1}
    times = {"train_step_ms": step, "test_batch_ms": 1.0, "test_merged_ms": None}
    sizes = {"params": 9, "stored_bytes": 36, "peak_memory_mb": 1.0}
    return method_cost.Cost(backbone=backbone, method="linear", **work, **times, **sizes)


def test_a_measurement_replaces_that_of_its_backbone_and_keeps_the_others(tmp_path) -> None:
    method_cost.write_csv([cost("mini", 1.0)], tmp_path)
    method_cost.write_csv([cost("micro", 2.0)], tmp_path)
    path = method_cost.write_csv([cost("mini", 3.0)], tmp_path)
    with path.open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [(line["backbone"], line["train_step_ms"]) for line in lines] == [
        ("micro", "2.0"),
        ("mini", "3.0"),
    ]
