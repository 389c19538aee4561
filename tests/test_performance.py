"""The page of performance: what its rows say, and that each is measured."""

import pytest
import torch

from bench import environment
from bench.performance import page, steps
from bench.performance.rows import Row


@pytest.mark.parametrize(
    ("ratio", "bar", "least", "said"),
    [
        (0.8, 0.9, False, "met"),
        (1.0, 0.9, False, "not met"),
        (31.0, 30.0, True, "met"),
        (29.0, 30.0, True, "not met"),
        (1.0, None, False, ""),
    ],
)
def test_a_bar_is_met_from_its_side(ratio, bar, least, said):
    assert Row("a", ratio, 1.0, 3, bar, least).met == said


def test_the_page_says_what_was_measured_on_what():
    about = environment.describe(torch.device("cpu"))
    text = page.page([Row("a pair", 0.5, 1.5, 3, 0.9), Row("a share", 0.01, 2.0, 1)], about)
    assert "| a pair  |    0.5  | ≤ 0.9 | met |       1.5 |       3 |" in text
    assert str(about["device_name"]) in text
    assert "made by `python -m bench performance`" in text


def test_steps_are_measured_for_each_number_of_prompts():
    rows = list(steps.rows("test_vit", 2, 1, "cpu"))
    assert len(rows) == 2 * len(steps.FAST)
    assert all(row.ratio > 0 and row.seconds > 0 for row in rows)


def test_the_floor_s_gradient_reaches_the_first_block():
    model = steps._bare("test_vit")
    images = torch.randn(2, 3, 160, 160)
    seen = []
    model.blocks[0].register_full_backward_hook(lambda *_: seen.append(1))
    steps._floor(model, images)()
    assert seen
    assert all(parameter.grad is None for parameter in model.parameters())
