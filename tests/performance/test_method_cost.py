"""The cost of a method, extrapolated to a suite."""

from bench.performance import method_cost


def test_all_of_vtab_is_projected():
    assert method_cost.image_counts() == (19 * 1000 * 100, 387_904)
