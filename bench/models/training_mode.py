"""Training mode with batch norms that are not trained: they keep their pretrained statistics.

As in VPT's code, whose frozen layers stay in evaluation mode. A batch norm is trained if its scale
is: then it normalises by the batch's statistics, and remembers their running means.
"""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from methods.shared.base import Model


def set_training_mode(model: Model) -> None:
    """Set training mode, except for batch norms that keep their statistics."""
    model.train()
    for module in model.modules():
        if keeps_statistics(module):
            module.eval()


def keeps_statistics(module: nn.Module) -> bool:
    """Return whether it is a batch norm that normalises by the statistics of its pretraining."""
    if not isinstance(module, _NormBase) or module.running_mean is None:
        return False
    return module.weight is not None and not module.weight.requires_grad


def moving_statistics(model: Model) -> Iterator[Tensor]:
    """Yield the running means and variances that training changes."""
    for module in model.modules():
        if isinstance(module, _NormBase) and not keeps_statistics(module):
            yield from (b for b in module.buffers(recurse=False) if b.is_floating_point())
