"""Checks that every method must pass, like scikit-learn's `check_estimator`.

The tests run all checks on all registered methods; `bench check-method` runs them on a new one. A
check is a function whose docstring states the requirement; it raises `AssertionError`, with the
difference, for a method that does not meet it.
"""

import copy
import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import asdict

import torch
from torch import Tensor, nn

from bench.models import weight_files
from bench.models.small_models import (
    CLASSES,
    IMAGES,
    FakeBatches,
    double_precision,
    dtype_of,
    prepare_copy,
    small_backbone,
    train_briefly,
)
from bench.models.training_tensors import TrainingTensors, named_tensors
from methods import Method
from methods.shared.base import NOT_COUNTED, Model
from methods.shared.structure import heads_of


def check_scores(method: Method, bare: Model) -> None:
    """It gives a finite score for each class."""
    with torch.no_grad():
        scores = prepare_copy(method, bare)(FakeBatches().batches[0][0])
    assert scores.shape == (IMAGES, CLASSES), f"scores are {tuple(scores.shape)}"
    assert scores.isfinite().all(), "some scores are not finite"


def check_head(method: Method, bare: Model) -> None:
    """The head learns."""
    frozen = [n for n, p in _head_parameters(prepare_copy(method, bare)) if not p.requires_grad]
    assert not frozen, f"frozen in the head: {frozen}"


def check_trainable_parameters(method: Method, bare: Model) -> None:
    """Frozen weights stay and every trainable one moves: none is dead."""
    with double_precision():
        model = prepare_copy(method, copy.deepcopy(bare).double())
        before = {n: p.detach().clone() for n, p in model.named_parameters()}
        trainable = {n for n, p in model.named_parameters() if p.requires_grad}
        train_briefly(method, model)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == trainable, (
        f"trainable but still: {sorted(trainable - moved)}; "
        f"frozen but moved: {sorted(moved - trainable)}"
    )


def check_seed(method: Method, bare: Model) -> None:
    """A seed fixes it."""
    images = FakeBatches().batches[0][0]
    with torch.no_grad():
        first, second = (prepare_copy(method, bare, seed=3)(images) for _ in range(2))
    assert torch.equal(first, second), "two preparations with one seed differ"


def check_reload(method: Method, bare: Model) -> None:
    """`attach` alone rebuilds it: a checkpoint loads without any data."""
    model = train_briefly(method, prepare_copy(method, bare))
    fresh = copy.deepcopy(bare)
    method.attach(fresh)
    fresh.load_state_dict(model.state_dict())
    images = FakeBatches().batches[0][0]
    with torch.no_grad():
        assert torch.equal(fresh.eval()(images), model(images)), (
            "the reloaded model scores otherwise"
        )


def check_copy(method: Method, bare: Model) -> None:
    """Copies and pickles compute alike, with weights of their own."""
    model, images = prepare_copy(method, bare), FakeBatches().batches[0][0]
    with torch.no_grad():
        expected = model(images)
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301
            assert torch.equal(twin(images), expected), "a copy scores otherwise"
            for p in twin.parameters():
                if p.requires_grad:
                    p.copy_(torch.randn_like(p))
            assert torch.equal(model(images), expected), "changing a copy changes the original"
            still_shared = torch.equal(twin(images), expected)
            assert not still_shared, "a copy still reads the original's weights"


def check_batch_independence(method: Method, bare: Model) -> None:
    """The scores of an image do not depend on what else is in its batch."""
    with double_precision():
        model = prepare_copy(method, copy.deepcopy(bare).double())
        images = FakeBatches(torch.float64).batches[0][0]
        with torch.no_grad():
            together, alone = model(images), model(images[:1])
    # peft's C3A transforms in float32 whatever the model's precision: 2e-10 on some processors
    torch.testing.assert_close(alone, together[:1], rtol=0, atol=1e-9)


def check_loss(method: Method, bare: Model) -> None:
    """Its loss is a sum over images, or it says that it takes whole batches."""
    with double_precision():
        model = prepare_copy(method, copy.deepcopy(bare).double())
        images, labels = FakeBatches(torch.float64).batches[0]
        with torch.no_grad():
            mean, total = (
                method.loss(model, model, images, labels, reduction=reduction)
                for reduction in ("mean", "sum")
            )
            padded = torch.where(torch.arange(IMAGES) < 1, labels, NOT_COUNTED)
            parts = [
                method.loss(model, model, *shard, reduction="sum")
                for shard in ((images[1:], labels[1:]), (images, padded))
            ]
    assert mean.shape == (), f"a loss has shape {tuple(mean.shape)}"
    torch.testing.assert_close(total, IMAGES * mean, rtol=0, atol=1e-9)
    if not method.whole_batch:
        torch.testing.assert_close(torch.stack(parts).sum(), total, rtol=0, atol=1e-9)


def check_stored(method: Method, bare: Model) -> None:
    """The tensors stored in a file give the same scores."""
    model = copy.deepcopy(bare)
    ids = weight_files.tensor_ids(model)
    method.prepare(model, FakeBatches())
    train_briefly(method, model)
    fresh = copy.deepcopy(bare)
    method.attach(fresh)
    stored = weight_files.stored_tensors(method, model, ids)
    weight_files.load_adapter_state(fresh, method.unpack(fresh, stored))
    images = FakeBatches().batches[0][0]
    with torch.no_grad():
        torch.testing.assert_close(fresh.eval()(images), model(images), rtol=0, atol=1e-5)


def check_half_precision(method: Method, bare: Model) -> None:
    """It learns under bf16 autocast."""
    model = prepare_copy(method, bare).train()
    images, labels = FakeBatches().batches[0]

    def scores(inputs: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return model(inputs).float()

    loss = method.loss(model, scores, images, labels)
    loss.backward()
    assert loss.isfinite(), "the loss is not finite"
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    nonfinite = [name for name, gradient in gradients.items() if not gradient.isfinite().all()]
    assert not nonfinite, f"gradients are not finite: {nonfinite}"


def check_checkpointing(method: Method, bare: Model) -> None:
    """Gradient checkpointing changes neither loss nor gradients."""
    with double_precision():
        results = []
        for checkpointing in (False, True):
            model = prepare_copy(method, copy.deepcopy(bare).double())
            model.set_grad_checkpointing(checkpointing)
            images, labels = FakeBatches(torch.float64).batches[0]
            loss = method.loss(model, model, images, labels)
            loss.backward()
            grads = [p.grad for p in model.parameters() if p.grad is not None]
            results.append([loss.detach(), *grads])
    for plain, checkpointed in zip(*results, strict=True):
        torch.testing.assert_close(checkpointed, plain, rtol=0, atol=1e-10)


def check_compiled(method: Method, bare: Model) -> None:
    """`torch.compile` reads it and changes no score."""
    model, images = prepare_copy(method, bare), FakeBatches().batches[0][0]
    torch.compiler.reset()
    with torch.no_grad():
        expected = model(images)
        compiled = torch.compile(model, backend="eager")(images)
    torch.testing.assert_close(compiled, expected, rtol=0, atol=1e-5)


def check_identity(method: Method, bare: Model) -> None:
    """It changes logits when it attaches if, and only if, it says so (`identity_at_start`)."""
    with double_precision(), torch.no_grad():
        bare, images = copy.deepcopy(bare).double(), FakeBatches(torch.float64).batches[0][0]
        model = copy.deepcopy(bare)
        method.attach(model)
        apart = float((model.eval()(images) - bare(images)).abs().max())
    # peft decomposes some weights in float32, which rounds at 1e-7
    assert method.identity_at_start == (apart < 1e-6), (
        f"identity_at_start is {method.identity_at_start}; logits differ by {apart:.3g}"
    )


def check_labels(method: Method, bare: Model) -> None:
    """Other labels give the same start, unless it says that it reads them (`reads_labels`)."""
    starts = []
    for relabelled in (0, 1):
        torch.manual_seed(0)
        model = copy.deepcopy(bare)
        method.prepare(model, FakeBatches(dtype_of(model), relabelled=relabelled))
        starts.append(model.state_dict())
    changed = [n for n, value in starts[0].items() if not torch.equal(value, starts[1][n])]
    assert method.reads_labels or not changed, f"labels change {changed[:3]}, and more or less"


def check_preparation(method: Method, bare: Model) -> None:
    """Data change nothing of the backbone: weights, buffers, mode, gradients."""
    for mode in (False, True):
        model, attached = (copy.deepcopy(bare).train(mode) for _ in range(2))
        own, untouched = _own_tensors(model), _own_tensors(attached)
        method.prepare(model, FakeBatches(dtype_of(model)))
        method.attach(attached)  # which may change weights: PiSSA takes its factors out of them
        changed = [name for name, value in own.items() if not torch.equal(value, untouched[name])]
        graded = [n for n, p in model.named_parameters() if p.grad is not None]
        assert not changed + graded, f"changed: {changed[:3]}; with gradients: {graded[:3]}"
        assert model.training is mode, f"a model in mode {mode} comes out in mode {not mode}"


def _own_tensors(model: Model) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def check_resuming(method: Method, bare: Model) -> None:
    """Training goes on from a checkpoint: its state is in tensors, or in `training_state`."""
    model, resumed = copy.deepcopy(bare), copy.deepcopy(bare)
    ids = weight_files.tensor_ids(model), weight_files.tensor_ids(resumed)
    method.prepare(model, FakeBatches(dtype_of(model)))
    tensors = TrainingTensors.of_untrained(method, model, ids[0])
    train_briefly(method, model, steps=2)
    stored = {name: value.clone() for name, value in tensors.stored().items()}
    own = copy.deepcopy(method)
    own.attach(resumed)
    TrainingTensors.of_untrained(own, resumed, ids[1]).load(stored)
    states = []
    for one, of_method in ((model, method), (resumed, own)):
        torch.manual_seed(1)
        train_briefly(of_method, one, steps=1)
        states.append({**named_tensors(one), **of_method.training_state(one)})
    trained, again = states
    assert trained.keys() == again.keys(), f"one lacks {trained.keys() ^ again.keys()}"
    changed = [name for name, value in trained.items() if not torch.equal(value, again[name])]
    assert not changed, f"trained on, these differ: {changed[:3]}"


def check_serialisable(method: Method, bare: Model) -> None:
    """Its hyper-parameters can be written down."""
    json.dumps(asdict(method))


def _head_parameters(model: Model) -> list[tuple[str, nn.Parameter]]:
    return list(heads_of(model).named_parameters())


Check = Callable[[Method, Model], None]
CHECKS: dict[str, Check] = {
    name.removeprefix("check_"): check
    for name, check in list(globals().items())
    if name.startswith("check_")
}


def run_checks(method: Method) -> Iterator[tuple[str, str | None]]:
    """Run all checks; yield each one's sentence, and the error or None."""
    for check in CHECKS.values():
        assert check.__doc__
        try:
            check(method, small_backbone())
        except Exception as error:  # a method under construction may raise anything
            yield check.__doc__, f"{type(error).__name__}: {error}"
        else:
            yield check.__doc__, None
