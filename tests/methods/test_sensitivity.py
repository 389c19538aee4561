"""Sensitivity-aware tuning: what is chosen follows the budget, alpha and beta."""

from dataclasses import dataclass

import pytest
import torch

import methods
from bench.models import small_models
from methods.shared.gradients import rebatched
from methods.shared.sensitivities import STEP, choose_entries

FORMS = ["sensitivity_lora", "sensitivity_adapter"]


@dataclass
class Rule:
    budget: float
    alpha: float = 10.0
    beta: float = 5.0

    def module_size(self, outputs, inputs):
        return 8 * (outputs + inputs)


def prepared(name, **fields):
    torch.manual_seed(0)
    model = small_models.small_backbone()
    methods.create(name, **fields).prepare(model, small_models.FakeBatches())
    return model


def count(model):
    named = model.named_parameters()
    return sum(p.numel() for n, p in named if p.requires_grad and not n.startswith("head"))


def sensitivities(hits=400):
    """A matrix of 400 × 300 that is all sensitive in its first rows, another, and a bias."""
    values = torch.rand(400, 300, generator=torch.Generator().manual_seed(0))
    first = values + (torch.arange(400) < 20)[:, None]
    return {"a.weight": first, "b.weight": values * 0.5, "b.bias": 9.0 * (torch.arange(400) < hits)}


def chosen(rule, hits=400, always=0):
    return choose_entries(sensitivities(hits), {"a": 1, "b": 1}, rule, always)


def test_a_matrix_dense_in_sensitive_entries_gets_a_module_and_no_other():
    selection = chosen(Rule(budget=0.006, alpha=1.0))
    assert selection.structured == {"a": [True], "b": [False]}
    assert set(selection.places) == {"b.bias"}  # nothing in b is as sensitive as those


@pytest.mark.parametrize(("hits", "learning"), [(79, 79), (80, 400)])
def test_a_vector_of_which_a_fifth_is_sensitive_learns_whole(hits, learning):
    assert chosen(Rule(budget=0.006), hits).places["b.bias"].tolist() == list(range(learning))


def test_what_always_learns_counts_towards_the_budget():
    rule = Rule(budget=0.0301, alpha=1e-3, beta=1e-3)  # all entries single: 20,000 or 40,000
    for always, expected in ((0, 40_000), (500, 20_000)):
        places = chosen(rule, always=always).places
        assert sum(map(len, places.values())) == expected


def test_entries_stay_single_where_alpha_asks_for_more():
    selection = chosen(Rule(budget=0.02, alpha=0.1))
    assert selection.structured["a"] == [False]
    single = sum(len(places) for places in selection.places.values())
    assert single == round(STEP * 1e6)
    assert (selection.places["a.weight"] < 20 * 300).sum() == 20 * 300  # its sensitive rows


@pytest.mark.parametrize("name", FORMS)
def test_a_greater_budget_trains_more_and_less_than_it_says_only_by_a_step(name):
    small, large = (count(prepared(name, budget=b, alpha=1e-3)) for b in (0.02, 0.06))
    assert abs(small - 0.02e6) <= STEP * 1e6
    assert abs(large - 0.06e6) <= STEP * 1e6
    assert small < large


@pytest.mark.parametrize("name", FORMS)
def test_the_class_token_learns_and_positions_and_patch_embedding_never_do(name):
    learns = {n: p.requires_grad for n, p in prepared(name).named_parameters()}
    assert learns["cls_token"]
    assert not learns["pos_embed"]
    assert not any(learns[n] for n in learns if n.startswith("patch_embed"))


@pytest.mark.parametrize("name", FORMS)
def test_without_data_the_class_token_learns_alone(name):
    model = small_models.small_backbone()
    methods.create(name).attach(model)
    assert count(model) == 64


@pytest.mark.parametrize("name", FORMS)
def test_choosing_leaves_the_random_numbers_to_come_to_the_modules_alone(name):
    """The same module starts at the same values, however many batches were looked at."""
    starts = [
        {n: p for n, p in prepared(name, batches=b).named_parameters() if ".added." in n}
        for b in (1, 2)
    ]
    assert starts[0].keys() == starts[1].keys()
    assert all(torch.equal(value, starts[1][n]) for n, value in starts[0].items())


@pytest.mark.parametrize("name", FORMS)
def test_other_labels_choose_other_entries(name):
    places = []
    for shift in (0, 1):
        model = small_models.small_backbone()
        method = methods.create(name, budget=0.02, alpha=1e-3)
        method.prepare(model, small_models.FakeBatches(relabelled=shift))
        places.append({n: b for n, b in model.named_buffers() if n.endswith("places")})
    assert any(not torch.equal(value, places[1][n]) for n, value in places[0].items())


def batches_of(*sizes):
    for i, size in enumerate(sizes):
        yield torch.full((size, 3), float(i)), torch.full((size,), i)


def test_images_are_dealt_into_batches_of_one_size_and_no_more_are_read():
    source = batches_of(20, 20, 20, 20)
    dealt = list(rebatched(source, 32, 1))
    assert [len(labels) for _, labels in dealt] == [32]
    assert dealt[0][1].tolist() == [0] * 20 + [1] * 12
    assert int(next(source)[1][0]) == 2  # the third was not read


def test_the_last_batch_may_be_smaller():
    sizes = [len(labels) for _, labels in rebatched(batches_of(64, 40), 32, 8)]
    assert sizes == [32, 32, 32, 8]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"form": "both"}, "lora or adapter; 'both'"),
        ({"budget": 0}, "budget must be above 0; 0"),
        ({"alpha": -1.0}, "alpha must be above 0; -1.0"),
        ({"rank": 0}, "at least 1; 0"),
    ],
)
def test_a_field_that_makes_no_sense_is_refused(fields, says):
    with pytest.raises(ValueError, match=says):
        methods.create("sensitivity_lora", **fields)
