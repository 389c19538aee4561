"""TensorBoard events of a cell: complete, written at once, and without effect on the cell."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.records.schema import Settings
from bench.records.store import Store
from bench.training import callbacks
from support import hostile, made_up_records, tiny

needs_tensorboard = pytest.mark.skipif(
    find_spec("tensorboard") is None, reason="the package tensorboard is not installed"
)
EPOCHS = ("--set", "epochs=4", "--set", "test_evaluations=2")


@pytest.fixture
def run(cards: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a method on four epochs, two of them scored; the exit status."""
    monkeypatch.setattr("bench.report.figures._figure_specs", list)

    def act(results: Path, method: str, *more: str) -> int:
        return main.main(tiny.command("run", cards, results, method, *EPOCHS, *more))

    return act


def record(results: Path) -> dict[str, Any]:
    """The only one."""
    (path,) = (results / "records").rglob("*.json")
    return json.loads(path.read_text(encoding="utf-8"))


def events(results: Path) -> Any:
    """The events of the only cell, as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = Settings(**record(results)["settings"])
    found = EventAccumulator(str(callbacks.tensorboard_folder(Store(results), settings)))
    return found.Reload()


def course(found: Any, tag: str) -> dict[int, float]:
    return {event.step: event.value for event in found.Scalars(tag)}


@needs_tensorboard
def test_tensorboard_reads_the_losses_and_accuracies_of_the_record(
    run: Callable[..., int], tmp_path: Path
) -> None:
    assert run(tmp_path, "linear", "--tensorboard") == 0
    outcome, found = record(tmp_path)["outcome"], events(tmp_path)
    losses = dict(enumerate(outcome["losses"], start=1))
    accuracies = {int(epoch): value for epoch, value in outcome["test_accuracies"].items()}
    assert course(found, callbacks.LOSS_TAG) == pytest.approx(losses)
    assert course(found, callbacks.ACCURACY_TAG) == pytest.approx(accuracies)
    assert len(losses) == 4
    assert len(accuracies) == 2
    assert list(course(found, callbacks.FINAL_ACCURACY_TAG).values()) == pytest.approx(
        [outcome["accuracy"]]
    )
    assert "_hparams_/session_start_info" in found.summary_metadata


@needs_tensorboard
def test_a_cell_that_runs_again_has_one_training_curve(
    run: Callable[..., int], tmp_path: Path
) -> None:
    for _ in range(2):
        assert run(tmp_path, "linear", "--tensorboard", "--force") == 0
    assert len(events(tmp_path).Scalars(callbacks.LOSS_TAG)) == 4


@needs_tensorboard
def test_tracking_changes_no_number(run: Callable[..., int], tmp_path: Path) -> None:
    assert run(tmp_path / "with", "lora", "--set", "dropout=0.5", "--tensorboard") == 0
    assert run(tmp_path / "without", "lora", "--set", "dropout=0.5") == 0
    tracked, plain = (record(tmp_path / name) for name in ("with", "without"))
    assert tracked["cell"] == plain["cell"]
    for name in ("losses", "test_accuracies", "predictions"):
        assert tracked["outcome"][name] == plain["outcome"][name]
    assert not (tmp_path / "without" / "tensorboard").exists()


@needs_tensorboard
def test_every_epoch_can_be_read_before_the_next(tmp_path: Path, cards: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = _settings()
    with callbacks.open_tracker(True, settings, Store(tmp_path)) as tracker:
        for epoch in (1, 2):
            tracker.log_epoch(epoch, 0.5, None)
            found = EventAccumulator(
                str(callbacks.tensorboard_folder(Store(tmp_path), settings))
            ).Reload()
            assert len(found.Scalars(callbacks.LOSS_TAG)) == epoch


@needs_tensorboard
def test_why_a_cell_failed_can_be_read(run: Callable[..., int], tmp_path: Path) -> None:
    assert run(tmp_path, "full", "--set", "lr=1e18", "--tensorboard") == 1
    (text,) = events(tmp_path).Tensors("failure/text_summary")
    assert b"Diverged" in text.tensor_proto.string_val[0]


def test_without_tensorboard_a_run_ends_before_it_begins(
    run: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(callbacks, "find_spec", lambda name: None)
    assert run(tmp_path, "linear", "--tensorboard") == 2
    assert "--tensorboard needs the package tensorboard" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.json"))


def _settings() -> Settings:
    about: dict[str, Any] = dict.fromkeys(("suite", "task", "split", "method", "backbone"), "any")
    plain: dict[str, Any] = {"fields": {}, "input": {}, "recipe": {"name": "any"}, "rates": {}}
    return Settings(**about, **plain, suite_version=1, classes=2, weights="", seed=0)


def test_hyper_parameters_are_plain_numbers_and_plain_texts() -> None:
    for text in hostile.TEXTS.values():
        settings = made_up_records.make(text, text, fields={text: text, "n": 3}).settings
        found = callbacks.hparams(settings)
        assert found["method.n"] == 3
        for name, value in found.items():
            assert name.isprintable()
            assert str(value).isprintable()
