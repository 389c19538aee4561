"""The interface of a method, and the exception for backbones that it cannot be attached to."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

Model = Any
"""A timm model of a family that `methods.shared.structure` knows: a module with one linear head."""

Batches = Iterable[tuple[Tensor, Tensor]]
"""Batches of normalised images, (B, 3, H, W), and labels, (B,); may be iterated more than once."""

Forward = Callable[[Tensor], Tensor]
"""A function from a batch of inputs to logits, (B, classes)."""

NOT_COUNTED = -100  # label of an image that no loss counts, as cross entropy has it


class Unsupported(Exception):
    """The method cannot be attached to this backbone; the message says why, in one sentence."""


@dataclass(frozen=True)
class Method(ABC):
    """One way to adapt a pretrained backbone to a task.

    A method receives a backbone that is frozen except for its new head, and makes exactly those
    parameters trainable (``requires_grad``) that it wants to train. Its fields are its
    hyper-parameters. What it says of itself below is a class attribute where no field changes it,
    and a property where one does; `bench check-method` tests what can be tested.
    """

    starts_from_images: ClassVar[bool] = False
    """True if `prepare` reads images but no labels, so that another task's images can be used."""

    @property
    def reads_labels(self) -> bool:
        """Whether `prepare` reads labels of the training batches, or gradients that they make."""
        return False

    @property
    def identity_at_start(self) -> bool:
        """Whether `attach` changes no logit, in evaluation mode."""
        return True

    @property
    def spatial_rule(self) -> str:
        """How prefix tokens and the grid of patches are treated, in a phrase, unless all alike."""
        return ""

    @property
    def whole_batch(self) -> bool:
        """Whether `loss` is no sum over images, so that processes cannot share a batch."""
        return False

    @abstractmethod
    def attach(self, model: Model) -> None:
        """Add modules to `model`, or unfreeze existing ones. Needs no data.

        Raises `Unsupported` if the method does not work with this backbone.
        """

    def prepare(self, model: Model, batches: Batches) -> None:
        """Attach, with an initialisation that may use `batches`. The runner times this call."""
        self.attach(model)

    def param_groups(self, model: Model) -> list[dict[str, Any]]:
        """Parameter groups with their own learning-rate factor (``lr``) or ``weight_decay``.

        Trainable parameters in none of these groups follow the trainer's general rule.
        """
        return []

    def loss(
        self,
        model: Model,
        forward: Forward,
        inputs: Tensor,
        labels: Tensor,
        reduction: str = "mean",
    ) -> Tensor:
        """Return the training loss of a batch, (): the mean or the sum over its images.

        `forward` computes the model's logits of `inputs`, images or features of them; each call is
        a forward pass. As cross entropy does, count no image whose label, in (B,), is
        `NOT_COUNTED`.
        """
        return F.cross_entropy(forward(inputs), labels, reduction=reduction)

    def pack(self, model: Model, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of a file, by name, made from those that were trained or added."""
        return tensors

    def unpack(self, model: Model, stored: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return tensors, by name, with which an attached `model` scores as the packed ones did."""
        return stored

    def after_epoch(self, model: Model, epoch: int) -> None:  # noqa: B027
        """Called after each epoch; `epoch` counts from 1."""

    def training_state(self, model: Model) -> dict[str, Tensor]:
        """Return what training changes beside the model's parameters and buffers, by name.

        For a checkpoint, from which training goes on after `attach` and `load_training_state`.
        """
        return {}

    def load_training_state(self, model: Model, state: dict[str, Tensor]) -> None:  # noqa: B027
        """Take over what `training_state` returned; `model` is attached, and on its device."""
