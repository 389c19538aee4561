"""The traits of a method that the ledger of parameters lists beside its counts."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

import methods
from bench.performance import method_traits, parameter_counts
from methods import Method
from methods.shared.backbone import with_weights


class Nearly(nn.Module):
    """A layer that folds into one whose weights are off by a share."""

    def __init__(self, linear: nn.Linear, off: float):
        super().__init__()
        self.linear, self.off = linear, off

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)

    def merged(self) -> nn.Linear:
        bias = self.linear.bias
        return with_weights(self.linear, self.linear.weight * (1 + self.off), bias)


@dataclass(frozen=True)
class Near(Method):
    off: float

    def attach(self, model: Any) -> None:
        model.blocks[2].mlp.fc2 = Nearly(model.blocks[2].mlp.fc2, self.off)


@pytest.mark.parametrize(("off", "merges"), [(0.0, True), (0.1, False), (10.0, False)])
def test_a_model_merges_exactly_if_folding_changes_no_score(off: float, merges: bool) -> None:
    assert method_traits.merges_exactly(Near(off)) is merges


@pytest.mark.parametrize(
    ("name", "merges"), [("lora", True), ("ssf", True), ("adapter", False), ("vpt_deep", False)]
)
def test_methods_merge_or_not(name: str, merges: bool) -> None:
    assert method_traits.traits_of(name).merges is merges


def test_a_row_says_what_the_method_says_of_itself() -> None:
    for name in ("lora", "vpt_deep", "gps"):
        method = methods.create(name)
        identity, _, labels, rule = method_traits.traits_of(name).to_cells()
        assert identity == ("yes" if method.identity_at_start else "no")
        assert labels == ("yes" if method.reads_labels else "no")
        assert rule == (method.spatial_rule or "–")


def test_stored_bytes_are_four_a_parameter_unless_there_is_more_or_it_is_packed() -> None:
    def beside_the_head(name: str) -> tuple[int, int]:
        stored = parameter_counts.stored_bytes(name, 10) - 4 * 7_690
        return stored, parameter_counts.count_parameters(name, 10) - 7_690

    for name in ("lora", "vpt_deep", "linear"):
        stored, params = beside_the_head(name)
        assert stored == 4 * params
    stored, params = beside_the_head("bi_adaptformer")
    assert params / 8 < stored < params / 7  # a bit a weight, and a scale and a mean a tensor
    stored, params = beside_the_head("e2vpt")
    assert stored > 4 * params  # masks


def test_the_page_has_a_column_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "names", lambda: ["linear"])
    heads = parameter_counts._traits_table().splitlines()[0]
    assert [head.strip() for head in heads.strip("|").split("|")] == [
        "method", "identity at start", "merges exactly", "reads labels", "spatial rule"
    ]  # fmt: skip
    assert "stored (bytes)" in parameter_counts._formula_table().splitlines()[0]


def test_a_method_that_fails_is_not_available_and_stops_no_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(methods, "names", lambda: ["nowhere"])
    assert parameter_counts._traits_table().splitlines()[-1].count("n/a") == 4
