"""Further test sets: masked scores are never below the others, and a record holds one for each."""

import json
from pathlib import Path

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.cli.main import main
from bench.data.loader import BatchLoader
from bench.data.splits import Examples
from bench.data.transforms import Transform
from bench.execution import plan
from bench.execution.request import Request
from bench.records import store
from bench.records.predictions import read_predictions
from bench.training import trainer
from bench.training.scored_sets import scored_sets
from support import tiny, tiny_shifts

CPU = torch.device("cpu")
CLASSES = 6


@given(st.data())
def test_the_masked_accuracy_is_never_below_the_other(data: st.DataObject) -> None:
    allowed = data.draw(st.sets(st.integers(0, CLASSES - 1), min_size=1))
    count = data.draw(st.integers(1, 8))
    score = st.integers(-2, 2).map(float)  # many are equal
    rows = st.lists(
        st.lists(score, min_size=CLASSES, max_size=CLASSES), min_size=count, max_size=count
    )
    logits = torch.tensor(data.draw(rows))
    labels = torch.tensor(data.draw(st.lists(st.sampled_from(sorted(allowed)), min_size=count,
                                             max_size=count)))  # fmt: skip
    classes = logits.argmax(1)
    masked = trainer.predict_among(sorted(allowed), logits, classes)
    assert (masked == labels).sum() >= (classes == labels).sum()
    assert set(masked.tolist()) <= allowed
    best = logits[:, sorted(allowed)].amax(1)
    assert torch.equal(logits.gather(1, masked[:, None])[:, 0], best)


def images_of(labels: torch.Tensor) -> BatchLoader:
    generator = torch.Generator().manual_seed(1)
    size = (len(labels), 3, tiny.SIDE, tiny.SIDE)
    pixels = torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
    view = Transform("squash", "bicubic")
    half = (0.5, 0.5, 0.5)
    return BatchLoader(Examples(labels, pixels), view, tiny.SIDE, 16, half, half, CPU)


@pytest.mark.parametrize("allowed", [[1], [0, 3, 9], list(range(10))])
def test_of_a_model_too(allowed: list[int]) -> None:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=10, **tiny.ARCHITECTURE)
    labels = torch.tensor([allowed[i % len(allowed)] for i in range(40)])
    found, masked = trainer.evaluate_masked(model, images_of(labels), "fp32", allowed)
    assert masked.accuracy >= found.accuracy
    assert set(masked.classes.tolist()) <= set(allowed)
    alone = trainer.evaluate(model, images_of(labels), "fp32")
    assert torch.equal(found.classes, alone.classes)
    if len(allowed) == 10:
        assert torch.equal(masked.classes, found.classes)


def test_a_score_that_is_not_finite_is_no_class_with_a_mask_either() -> None:
    model = timm.create_model("vit_tiny_patch16_224", num_classes=10, **tiny.ARCHITECTURE)
    torch.nn.init.constant_(model.head.bias, float("nan"))
    with pytest.raises(trainer.Diverged, match="4 of 4 images"):
        trainer.evaluate_masked(model, images_of(torch.zeros(4).long()), "fp32", [0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the tiny suite with two further test sets, one of them masked."""
    folder = tmp_path_factory.mktemp("shifts")
    tiny_shifts.write(folder)
    assert main(tiny.command("run", folder, folder / "results", "linear", "--no-tune")) == 0
    return folder


def cell_of(folder: Path, **changed: object):
    names = {"suite": str(folder / "tiny.toml"), "methods": ["linear"], "tune": False}
    request = Request(**names, root=folder / "data", **changed)
    return plan.make_plan(request, store.Store(folder / "none")).cells[0]


def test_one_training_has_a_score_on_every_set_with_its_predictions(folder: Path) -> None:
    [record] = store.load_records(folder / "results")
    assert record.outcome
    assert set(record.outcome.shifts) == set(record.settings.shifts) == {"far", "half"}
    for name, said in record.outcome.shifts.items():
        path = store.Store(folder / "results").predictions_path(record.settings, name)
        kept = read_predictions(path)
        assert kept
        assert kept.labels is not None
        assert said.accuracy == 100 * float((kept.classes == kept.labels).mean())
        assert said.images == len(kept.labels) == {"far": 16, "half": 6}[name]
    assert record.outcome.shifts["far"].masked_accuracy is None
    assert record.outcome.shifts["half"].masked_accuracy == record.outcome.shifts["half"].score
    assert record.outcome.shifts["half"].score == 100, "it has one class"


def test_the_digest_of_a_set_and_of_its_mask_is_part_of_the_cell_s_name(folder: Path) -> None:
    [record] = store.load_records(folder / "results")
    far, half = record.settings.shifts["far"], record.settings.shifts["half"]
    assert "-" not in far
    assert "-" in half
    written = json.loads(store.Store(folder / "results").files()[0].read_text(encoding="utf-8"))
    assert written["settings"]["shifts"] == {"far": far, "half": half}


def test_the_named_sets_of_a_cell_are_its_splits_and_every_further_set(folder: Path) -> None:
    found = list(scored_sets(cell_of(folder), CPU))
    assert [(one.name, len(one.loader.examples), one.classes) for one in found] == [
        ("val", 4, None),
        ("test", 16, None),
        ("far", 16, None),
        ("half", 6, [0]),
    ]


def test_a_cell_without_further_sets_keeps_its_name(tmp_path: Path) -> None:
    tiny.write_all(tmp_path)
    settings = cell_of(tmp_path, tasks=["light"]).settings
    assert "shifts" not in settings.to_json()
    assert settings.shifts == {}
