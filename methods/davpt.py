"""DA-VPT and DA-VPT+: prompts guided by a metric loss (Ren et al., 2025), https://arxiv.org/abs/2505.23694.

The released code: https://github.com/Noahsark/DA-VPT. The loss: proxy anchor (Kim et al., 2020),
https://arxiv.org/abs/2003.13911.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.shared.attention import project_qkv, require_stepwise_blocks
from methods.shared.backbone import replace_together, require_layers
from methods.shared.base import Batches, Forward, Method, Model, Unsupported
from methods.shared.block_layers import attention_inputs
from methods.shared.class_map import ClassMap
from methods.shared.hyperparameters import require_size
from methods.shared.modes import eval_mode
from methods.shared.prompts import add_deep_prompts, require_prompt_count
from methods.shared.registry import register
from methods.shared.structure import (
    block_width,
    blocks_of,
    feature_width,
    heads_of,
    map_feature,
    prefix_tokens,
)
from methods.shared.tensor_slot import TensorSlot


class GuidedBlock(nn.Module):
    """A prompted block that, in training, hands over what the metric loss compares with prompts.

    That is the mean of its input's patches and the query of its class token, (B, D) each.
    """

    block: Any  # one that holds prompts

    def __init__(self, block: nn.Module, inner: nn.Module, prefix: int):
        super().__init__()
        self.block, self.prefix = block, prefix
        self.inner: tuple[Any] = (inner,)  # in a tuple: it is a part of `block`
        self.patches, self.query = TensorSlot(), TensorSlot()

    def seen(self) -> Tensor:
        """Return the prompts as the block receives them in evaluation mode, (P, D)."""
        prompts: Tensor = self.block.seen()
        return prompts

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        if self.training:
            (inner,) = self.inner
            query, _, _ = project_qkv(inner.attn, inner.norm1(x[:, :1]))  # (B, H, 1, D / H)
            self.query.put(query.flatten(1))
            self.patches.put(x[:, self.prefix :].mean(1))
        return self.block(x, **kwargs)


class FeatureTap(nn.Module):
    """The identity of the pooled feature, (B, D), which it hands over in training."""

    def __init__(self, features: TensorSlot):
        super().__init__()
        self.features = features

    def forward(self, feature: Tensor) -> Tensor:
        if self.training:
            self.features.put(feature)
        return feature


class KeyValueBias(nn.Module):
    """A linear layer with a learnt bias on its last `count` outputs, zero at the start."""

    def __init__(self, linear: nn.Linear, count: int):
        super().__init__()
        self.linear, self.bias = linear, nn.Parameter(torch.zeros(count))

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return y + F.pad(self.bias, (y.shape[-1] - len(self.bias), 0))


class UnitNorm(nn.Module):
    """Vectors divided by their norms."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1, eps=1e-6)


@dataclass(frozen=True)
class DAVPT(Method):
    """Deep prompts; in the last `guided` blocks a proxy-anchor loss compares them with an image.

    The loss adds, to cross entropy, the mean over the guided blocks of ``patch_weight *
    L(mean of patches) + class_weight * L(query of the class token)``. L takes each image towards
    the prompt of its class and away from the others, by the cosine: its log-sum-exp is over the
    images of a batch. Classes are mapped to prompts by k-means of their mean features: of the
    frozen backbone at first, and after the epoch `remap_from` (0: never) of the model in training.

    As the released code has it: the margin is `margin`, exponents are times `sharpness` and
    prompts times `prompt_scale`; the mean is over all prompts, also those without an image in the
    batch. (The paper prints a margin of 32 and a scale of 10.) Its option ``patch_type``, by which
    outputs at prompts would stand for patches, is read and then not used. Prompts start from
    Xavier's range for the tensor of all guided blocks, or of all others, over eight. With fewer
    classes than prompts the further prompts are not guided; there, the code shortens them.
    Where a backbone normalises queries, they are compared normalised.

    DA-VPT+ (`biases`) also learns the biases of keys and values. Trap: a bias of all keys adds the
    same to each logit of a query, so that attention ignores it: half of them cannot learn. The
    released configurations, one for each task, also train class token, norm1 and the biases of
    norm2, proj and fc2, sample two images a class, and clip gradients: not offered.
    """

    reads_labels = True
    whole_batch = True
    identity_at_start = False

    prompts: int = 20
    guided: int = 2
    patch_weight: float = 0.05
    class_weight: float = 0.05
    sharpness: float = 32.0
    margin: float = 0.1
    prompt_scale: float = 5.0
    remap_from: int = 2
    unit_prompts: bool = False
    biases: bool = False

    def __post_init__(self) -> None:
        require_prompt_count(self.prompts)
        require_size("the number of guided blocks", self.guided)

    def attach(self, model: VisionTransformer) -> None:
        blocks, prefix = blocks_of(model), prefix_tokens(model)
        if not prefix:
            raise Unsupported("this method guides prompts by the class token, and there is none")
        if self.guided > len(blocks):
            raise Unsupported(f"{self.guided} guided blocks are more than all {len(blocks)}")
        require_stepwise_blocks(model)
        if self.biases:
            require_layers(model, nn.Linear, attention_inputs)
            replace_together(model, attention_inputs, _with_biases)
        inner = list(blocks)
        norms = [UnitNorm() if self.unit_prompts else None] * len(blocks)
        add_deep_prompts(model, self._initial_prompts(model), "keys_and_values", projects=norms)
        for i in range(len(blocks) - self.guided, len(blocks)):
            blocks[i] = GuidedBlock(blocks[i], inner[i], prefix)
        features = TensorSlot()
        map_feature(model, FeatureTap(features))
        classes = sum(getattr(head, "out_features", 0) for head in heads_of(model))
        class_map = ClassMap(classes, self.prompts, feature_width(model))
        blocks[-1].class_map, blocks[-1].features = class_map, features

    @torch.no_grad()
    def prepare(self, model: Model, batches: Batches) -> None:
        with eval_mode(model):
            seen = [
                (model.forward_head(model.forward_features(images), pre_logits=True), labels)
                for images, labels in batches
            ]
        self.attach(model)
        class_map: ClassMap = blocks_of(model)[-1].class_map.to(seen[0][0].device)
        for features, labels in seen:
            class_map.observe(features, labels)
        class_map.renew()

    def loss(
        self,
        model: Model,
        forward: Forward,
        inputs: Tensor,
        labels: Tensor,
        reduction: str = "mean",
    ) -> Tensor:
        loss = F.cross_entropy(forward(inputs), labels, reduction=reduction)
        if not model.training:
            return loss
        last = blocks_of(model)[-1]
        last.class_map.observe(last.features.pop(), labels)
        guidance = torch.stack([self._guidance(b, last.class_map, labels) for b in _guided(model)])
        return loss + guidance.mean() * (len(labels) if reduction == "sum" else 1)

    def after_epoch(self, model: Model, epoch: int) -> None:
        if self.remap_from and epoch >= self.remap_from:
            blocks_of(model)[-1].class_map.renew()
        else:
            blocks_of(model)[-1].class_map.forget()

    def _guidance(self, block: GuidedBlock, class_map: ClassMap, labels: Tensor) -> Tensor:
        """Return the metric loss of a block, ()."""
        proxies = block.seen()[: class_map.prompts]  # (P, D)
        own = F.one_hot(class_map.prompt_of[labels], len(proxies)).bool()  # (B, P)
        losses = (
            weight * self._proxy_anchor(tokens.to(proxies), proxies, own)
            for weight, tokens in (
                (self.patch_weight, block.patches.pop()),
                (self.class_weight, block.query.pop()),
            )
        )
        return torch.stack(list(losses)).sum()

    def _proxy_anchor(self, tokens: Tensor, proxies: Tensor, own: Tensor) -> Tensor:
        """Return the loss of tokens, (B, D), each with one proxy of its own among (P, D)."""
        cosines = F.normalize(tokens, dim=-1) @ F.normalize(proxies, dim=-1).T  # (B, P)
        scaled = self.prompt_scale * cosines
        near = _log_one_plus_sum(-self.sharpness * (scaled - self.margin), own)
        far = _log_one_plus_sum(self.sharpness * (scaled + self.margin), ~own)
        return near.mean() + far.mean()

    def _initial_prompts(self, model: Model) -> Sequence[Tensor]:
        """Return the prompts of every block, (P, D) each."""
        width, others = block_width(blocks_of(model)[0]), len(blocks_of(model)) - self.guided
        starts = [torch.empty(n, self.prompts, width) for n in (others, self.guided) if n]
        return [p for start in starts for p in nn.init.xavier_uniform_(start) / 8]


def _log_one_plus_sum(exponents: Tensor, counted: Tensor) -> Tensor:
    """Return ``log(1 + sum exp)`` over the counted of each column of exponents, (B, P): (P,)."""
    masked = exponents.masked_fill(~counted, -torch.inf)
    return torch.cat([masked, masked.new_zeros(1, masked.shape[1])]).logsumexp(0)


def _guided(model: Model) -> Iterator[GuidedBlock]:
    yield from (block for block in blocks_of(model) if isinstance(block, GuidedBlock))


def _with_biases(first: nn.Linear, *others: nn.Linear) -> Sequence[nn.Module]:
    """Add biases to keys and values: to the last outputs of one layer, or to two layers."""
    if not others:
        return [KeyValueBias(first, first.out_features // 3 * 2)]
    return first, *(KeyValueBias(layer, layer.out_features) for layer in others)


register("da_vpt", DAVPT())
register("da_vpt_plus", DAVPT(biases=True))
