"""What a method is."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from timm.models import VisionTransformer
from torch import Tensor

Batches = Iterable[tuple[Tensor, Tensor]]
"""Normalised images, (B, 3, H, W), and labels, (B,), in batches; may be read more than once."""


class Unsupported(Exception):
    """This method cannot serve this backbone; the message is the one sentence that says why."""


@dataclass(frozen=True)
class Method(ABC):
    """One way to adapt a pretrained backbone to a task.

    A method gets a backbone that is frozen except for a new head, and leaves it
    ready to train: what should learn has ``requires_grad``, and nothing else.
    Its fields are its hyper-parameters.
    """

    starts_from_images: ClassVar[bool] = False
    """Whether `prepare` reads images and never labels, so that another task's serve as well."""

    @abstractmethod
    def attach(self, model: VisionTransformer) -> None:
        """Add modules to `model`, or unfreeze some it has. Needs no data.

        Raises `Unsupported` where the backbone cannot be served.
        """

    def prepare(self, model: VisionTransformer, batches: Batches) -> None:
        """Attach, starting from what `batches` show. The runner times this call."""
        self.attach(model)

    def param_groups(self, model: VisionTransformer) -> list[dict[str, Any]]:
        """Groups with a learning rate (``lr``, a factor) or decay (``weight_decay``) of their own.

        What is trainable and in no group here falls under the trainer's general rule.
        """
        return []

    def after_epoch(self, model: VisionTransformer, epoch: int) -> None:  # noqa: B027
        """Act between two epochs; `epoch` counts from 1."""
