"""Checks of a method's claims about itself: its start, the labels that it reads, its tokens."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch

import methods
from bench.models import method_checks, small_models
from methods import Method


@dataclass(frozen=True)
class Shifted(Method):
    """Says that it is the identity, and shifts the head's bias."""

    by: float = 1.0

    def attach(self, model: Any) -> None:
        with torch.no_grad():
            model.head.bias.add_(self.by)


@dataclass(frozen=True)
class Unchanged(Method):
    """Says that it is not the identity, and is."""

    identity_at_start: ClassVar[bool] = False  # type: ignore[misc]

    def attach(self, model: Any) -> None:
        pass


@dataclass(frozen=True)
class Peeking(Method):
    """Says that it reads no labels, and starts from them."""

    def attach(self, model: Any) -> None:
        pass

    def prepare(self, model: Any, batches: Any) -> None:
        with torch.no_grad():
            model.head.bias.add_(sum(labels.float().mean() for _, labels in batches))


@dataclass(frozen=True)
class Untidy(Method):
    """Leaves gradients behind."""

    def attach(self, model: Any) -> None:
        pass

    def prepare(self, model: Any, batches: Any) -> None:
        for images, _ in batches:
            model(images).sum().backward()


@dataclass(frozen=True)
class Waking(Method):
    """Leaves the model in training mode."""

    def attach(self, model: Any) -> None:
        pass

    def prepare(self, model: Any, batches: Any) -> None:
        model.train()


@pytest.mark.parametrize(
    ("method", "check", "says"),
    [
        (Shifted(), "identity", "identity_at_start is True; logits differ by 1"),
        (Unchanged(), "identity", "identity_at_start is False; logits differ by 0"),
        (Peeking(), "labels", "labels change .*head.bias"),
        (Peeking(), "preparation", "changed: .*head.bias"),
        (Untidy(), "preparation", "with gradients: .*head.weight"),
        (Waking(), "preparation", "in mode False comes out in mode True"),
    ],
)
def test_a_method_that_says_otherwise_of_itself_is_found_out(
    method: Method, check: str, says: str
) -> None:
    with pytest.raises(AssertionError, match=says):
        method_checks.CHECKS[check](method, small_models.small_backbone())


@pytest.mark.parametrize(
    ("name", "fields", "identity"),
    [
        ("adapter", {}, True),
        ("adapter", {"init": "xavier"}, False),
        ("snf", {}, False),
        ("snf", {"flow_length": 0}, True),
        ("peft_fourierft", {}, True),
        ("peft_fourierft", {"options": {"n_frequency": 100}}, False),
        ("peft_lora", {"options": {"r": 2, "init_lora_weights": False}}, False),
    ],
)
def test_a_field_that_changes_the_start_changes_what_is_said_of_it(
    name: str, fields: dict[str, Any], identity: bool
) -> None:
    method = methods.create(name, **fields)
    assert method.identity_at_start is identity
    method_checks.check_identity(method, small_models.small_backbone())


def test_what_starts_from_another_task_s_images_reads_no_labels() -> None:
    for method in map(methods.create, methods.names()):
        assert not (method.starts_from_images and method.reads_labels), method


def test_a_spatial_rule_is_a_phrase() -> None:
    for method in map(methods.create, methods.names()):
        rule = method.spatial_rule
        assert rule == rule.strip().removesuffix("."), method
        assert len(rule) < 80, method
