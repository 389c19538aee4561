"""VPT's printed parameters against those of the methods, counted on the meta device."""

import copy
from decimal import Decimal
from functools import cache

import pytest
import torch

import methods
from bench.config.backbone import load_backbone
from bench.models import backbones
from bench.papers.claims import Claim, load_claims
from methods.shared.structure import feature_width, heads_of

LENGTHS = {"vpt_shallow": "prompts", "vpt_deep": "prompts", "vpt_pad": "pixels"}
LONGEST_ON = {"swin": 50}  # prompts; elsewhere the grid's
GRIDS = {"prompts": (1, 200), "pixels": (1, 11)}
TUNED = {"adapter"}  # a width for each task, not printed
TOTALS = [c for c in load_claims("vpt2022") if c.entry.metric == "total_params"]


@cache
def frozen(backbone):
    """The backbone with one class, on the meta device."""
    card = load_backbone(backbone)
    with torch.device("meta"):
        spec = backbones._resolve_input(card)
        return backbones._build(card, spec, classes=1).requires_grad_(False)


def total(claim: Claim, **fields: object) -> Decimal:
    """The backbone and what all tasks train, over the backbone, to the claim's last digit."""
    model = copy.deepcopy(frozen(claim.entry.backbone))
    heads = {id(p) for p in heads_of(model).parameters()}
    own = sum(p.numel() for p in model.parameters() if id(p) not in heads)
    width = feature_width(model)
    with torch.device("meta"):
        methods.create(claim.entry.method, **fields).attach(model)
    heads = {id(p) for p in heads_of(model).parameters()}
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad and id(p) not in heads)
    classes = [task.classes for tasks in claim.entry.tasks.values() for task in tasks]
    kept = 0 if claim.entry.method == "full" else own
    added = len(classes) * trained + sum(classes) * (width + 1)
    exact = Decimal(kept + added) / own
    return exact.quantize(Decimal(claim.value))


def fixed():
    return [c for c in TOTALS if c.entry.method not in {*LENGTHS, *TUNED}]


@pytest.mark.sample(6)
@pytest.mark.parametrize("claim", fixed(), ids=lambda c: f"{c.entry.backbone}-{c.entry.method}")
def test_the_printed_total_is_the_counted_one(claim: Claim) -> None:
    assert total(claim) == Decimal(claim.value)


def tuned():
    return [c for c in TOTALS if c.entry.method in LENGTHS]


@pytest.mark.parametrize("claim", tuned(), ids=lambda c: f"{c.entry.backbone}-{c.entry.method}")
def test_a_total_of_lengths_tuned_for_each_task_is_within_those_of_the_grid(claim: Claim) -> None:
    name = LENGTHS[claim.entry.method]
    shortest, longest = GRIDS[name]
    longest = LONGEST_ON.get(claim.entry.backbone.partition("_")[0], longest)
    least, most = (total(claim, **{name: length}) for length in (shortest, longest))
    assert least <= Decimal(claim.value) <= most


def test_every_table_has_its_totals() -> None:
    counted = {table: sum(c.table == table for c in TOTALS) for table in ("table2", "table5")}
    assert counted == {"table2": 7, "table5": 12}
