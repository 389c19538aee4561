"""The states of random generators go through JSON and back."""

import json
import random

import numpy as np
import torch

from bench.training import generators

CPU = torch.device("cpu")


def draws(order):
    """A number of each kind from each generator: an odd number of normal ones keeps one back."""
    return [
        random.random(),
        random.gauss(0, 1),
        np.random.random(),
        np.random.standard_normal(),
        torch.rand(()).item(),
        torch.randn(3).tolist(),
        torch.randperm(9, generator=order).tolist(),
    ]


def test_after_they_are_set_all_generators_draw_what_they_drew():
    order = torch.Generator().manual_seed(5)
    draws(order)
    states = json.loads(json.dumps(generators.read_states(CPU, order)))
    drawn = draws(order)
    draws(order)
    generators.set_states(states, CPU, order)
    assert draws(order) == drawn


def test_reading_the_states_draws_nothing():
    torch.manual_seed(0)
    generators.read_states(CPU, None)
    drawn = torch.rand(2)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(2), drawn)


def test_a_split_in_its_own_order_has_no_generator_of_the_order():
    states = generators.read_states(CPU, None)
    assert "batch_order" not in states
    generators.set_states(states, CPU, None)
