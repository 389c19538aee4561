"""Hyper-parameters: which of them name a cell."""

from dataclasses import asdict, dataclass

import methods
from methods import Method
from methods.shared.hyperparameters import later_field, recorded_fields


@dataclass(frozen=True)
class Grown(Method):
    size: int = 3
    doubled: bool = later_field(False)

    def attach(self, model):
        """Do nothing."""


def test_a_later_field_is_recorded_only_where_it_is_changed():
    assert recorded_fields(Grown()) == {"size": 3}
    assert recorded_fields(Grown(doubled=True)) == {"size": 3, "doubled": True}
    assert asdict(Grown()) == {"size": 3, "doubled": False}


def test_cells_of_prompts_are_named_as_before_there_were_stages():
    shallow = {"prompts", "deep", "frozen", "dropout", "pool_prompts", "projection", "form"}
    assert recorded_fields(methods.create("vpt_shallow")).keys() == shallow
    carried = methods.create("vpt_shallow", carry_prompts=True)
    assert recorded_fields(carried).keys() == shallow | {"carry_prompts"}
