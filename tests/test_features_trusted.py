"""When what a fixed part gives is not kept: it draws, it changes, or it norms by its batch."""

import pytest
import torch
from test_features import adapted, kept
from torch import nn

from bench import stages

DISTRUST = "images: features alone give other scores"


class Drawing(nn.Module):
    """Draws a number in training and makes nothing of it: whatever draws next draws another."""

    def forward(self, x):
        if self.training:
            torch.rand(())
        return x


class Counting(nn.Module):
    """Counts in training, and gives what it got."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.count += 1
        return x


@pytest.mark.parametrize("lively", [Drawing(), Counting()], ids=["draws", "changes"])
def test_what_acts_in_training_is_not_trusted_though_the_scores_are_the_same(lively):
    model = adapted("linear")
    model.blocks[0].ls1 = lively
    assert kept(model).note == DISTRUST


def test_a_frozen_batch_norm_is_not_fixed():
    model = adapted("linear")
    model.blocks[1].ls1 = nn.BatchNorm1d(64).requires_grad_(False)
    assert stages.split(model).above[0].name == "blocks.1"


class Fading(nn.Module):
    """Gives a hundredth less in training."""

    def forward(self, x):
        return 0.99 * x if self.training else x


def test_what_gives_a_little_less_in_training_is_not_trusted():
    model = adapted("linear")
    model.blocks[0].ls1 = Fading()
    model.blocks[1].ls1 = Fading()
    assert kept(model).note == DISTRUST
