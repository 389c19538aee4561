"""The cost of a method, extrapolated to a suite."""

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
