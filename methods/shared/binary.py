"""Linear layers with weights of one bit, and their form in a file: packed bits and two numbers."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.shared.base import Model
from methods.shared.structure import head_names

# the third quartile of a Gaussian, in float32: the medians of its halves are ±LEVEL
LEVEL = 0.6744897365570068
EPSILON = 1e-5
BITS, MOMENTS = ".bits", ".moments"  # of a weight in a file: they follow its name


class BinaryLinear(nn.Linear):
    """A linear layer without bias whose weight has two values.

    The latent weight, normalised by its mean and deviation, becomes ±`LEVEL` and is scaled back; a
    gradient passes the quantisation as if it were the identity, and passes mean and deviation.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.quantised_weight())

    def quantised_weight(self) -> Tensor:
        mean, deviation = self.weight.mean(), self.weight.std()
        plain = (self.weight - mean) / (deviation + EPSILON)
        binary = plain + (LEVEL * plain.sign() - plain).detach()  # straight through
        return binary * deviation + mean  # (outputs, inputs)


def make_heads_binary(model: Model) -> None:
    """Replace the model's heads by binary ones, without bias."""
    for name in head_names(model):
        head = model.get_submodule(name)
        if isinstance(head, nn.Linear):  # a backbone may have none
            model.set_submodule(name, BinaryLinear(head.in_features, head.out_features))


def binary_weights(model: Model) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the model's binary weights by name."""
    return {
        f"{name}.weight": tuple(module.weight.shape)
        for name, module in model.named_modules()
        if isinstance(module, BinaryLinear)
    }


def pack_binary(model: Model, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Replace the latent weights among `tensors` by their bits, and their mean and deviation."""
    packed: dict[str, Tensor] = {}
    shapes = binary_weights(model)
    for name, tensor in tensors.items():
        if name in shapes:
            mean, deviation = tensor.float().mean(), tensor.float().std()
            packed[name + BITS] = _pack_bits((tensor > tensor.mean()).flatten())
            packed[name + MOMENTS] = torch.stack([mean, deviation])
        else:
            packed[name] = tensor
    return packed


def unpack_binary(model: Model, stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Replace packed weights by latent weights of the same signs, mean and deviation."""
    tensors = dict(stored)
    for name, shape in binary_weights(model).items():
        if name + BITS in tensors and name + MOMENTS in tensors:
            bits, moments = tensors.pop(name + BITS), tensors.pop(name + MOMENTS)
            above = _unpack_bits(bits)[: torch.Size(shape).numel()]
            tensors[name] = _two_values(above, *moments.double()).float().reshape(shape)
    return tensors


def _two_values(above: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Return two values in the places of the bits, (n,), with this mean and deviation."""
    high, count = int(above.sum()), len(above)
    low = count - high
    if not high or not low:
        return mean.expand(count)  # all were equal
    up = deviation * ((count - 1) * low / (count * high)) ** 0.5
    return torch.where(above, mean + up, mean - up * high / low)


def _pack_bits(bits: Tensor) -> Tensor:
    """Pack bits, (n,), into bytes, the first bit lowest."""
    octets = F.pad(bits.to(torch.uint8), (0, -len(bits) % 8)).unflatten(0, (-1, 8))
    weights = 2 ** torch.arange(8, dtype=torch.uint8)
    return (octets * weights).sum(1, dtype=torch.uint8)


def _unpack_bits(octets: Tensor) -> Tensor:
    """Return the bits of bytes, (8 n,)."""
    return (octets[:, None] >> torch.arange(8, dtype=torch.uint8) & 1).flatten().bool()
