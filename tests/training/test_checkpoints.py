"""Checkpoints: when one is written, what it holds, which are refused, and full disks."""

import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from bench.records.store import Store
from bench.training import checkpoint_file, checkpoints, runner
from bench.training.callbacks import TrainingMonitor
from bench.training.checkpoints import Checkpoints
from support.resumed_cells import CPU, assert_equal, cell_of, resume, train, train_whole


@pytest.fixture(scope="module")
def cell(cards):
    return cell_of(cards, "bias")


@pytest.fixture(scope="module")
def whole(cell, tmp_path_factory):
    """A cell that was never interrupted, and its checkpoint after epoch 1."""
    trained, kept = train_whole(cell, tmp_path_factory.mktemp("whole"))
    return trained, kept[1]


@pytest.fixture
def refused(cell, whole, tmp_path) -> Callable[[], str]:
    """Train with what is in the place of a checkpoint: the cell starts over; why, in a sentence."""

    def act() -> str:
        ours = Checkpoints(cell, Store(tmp_path), CPU, every=1e6)
        trained = train(cell, ours)
        assert_equal(whole[0], trained)
        assert "resumed_after_epochs" not in ours.notes()
        (why,) = ours.problems
        assert why.startswith(f"{ours.path} is not used: ")
        assert why.endswith("; the cell starts over")
        assert "\n" not in why
        return why

    return act


@pytest.fixture
def place(cell, tmp_path) -> Path:
    """The path of the cell's checkpoint, in a folder that is there."""
    path = Store(tmp_path).checkpoint_path(cell.settings)
    path.parent.mkdir(parents=True)
    return path


def test_one_is_written_at_the_end_of_an_epoch_if_so_many_seconds_have_passed(
    cards, tmp_path, monkeypatch
):
    cell, now, wrote = cell_of(cards, "linear", 8), [0.0], list[int]()
    monkeypatch.setattr(checkpoints, "perf_counter", lambda: now[0])
    monkeypatch.setattr(
        checkpoint_file, "write", lambda path, tensors, state: wrote.append(len(state["losses"]))
    )
    ours = Checkpoints(cell, Store(tmp_path), CPU, every=100.0)

    def pass_time(_epoch: int) -> None:
        now[0] += 40.0

    train(cell, ours, pass_time)
    assert wrote == [3, 6]


@pytest.mark.parametrize(("every", "expected"), [(10.0, [1, 5]), (0.0, [1, 2, 3, 4, 5, 6])])
def test_the_longer_writing_takes_the_more_seldom_it_is_done(
    every, expected, cards, tmp_path, monkeypatch
):
    cell, now, wrote = cell_of(cards, "linear", 6), [0.0], list[int]()
    monkeypatch.setattr(checkpoints, "perf_counter", lambda: now[0])

    def write(path: Path, tensors: Any, state: dict[str, Any]) -> None:
        wrote.append(len(state["losses"]))
        now[0] += 4.0  # of 200 seconds, 2 %

    monkeypatch.setattr(checkpoint_file, "write", write)
    ours = Checkpoints(cell, Store(tmp_path), CPU, every=every)

    def pass_time(_epoch: int) -> None:
        now[0] += 50.0

    train(cell, ours, pass_time)
    assert wrote == expected


def test_a_short_cell_writes_none(cell, tmp_path):
    train(cell, Checkpoints(cell, Store(tmp_path), CPU, every=300.0))
    assert not list(tmp_path.iterdir())


def test_what_is_frozen_is_not_stored(cards, tmp_path):
    cell = cell_of(cards, "vpt_deep")
    trained, kept = train_whole(cell, tmp_path)
    with safe_open(kept[1], framework="pt") as file:
        of_model = {name for name in file.keys() if name.startswith("model.")}  # noqa: SIM118
    learns = {f"model.{n}" for n, p in trained.model.named_parameters() if p.requires_grad}
    assert of_model == learns
    backbone = sum(4 * p.numel() for p in trained.model.parameters())
    assert kept[1].stat().st_size < backbone / 4


def test_times_add_up_and_the_start_s_are_those_of_the_first_part(cell, whole, tmp_path):
    _, state = checkpoint_file.read(whole[1])
    saved = json.loads(state)
    earlier = {**saved, "train_seconds": 1e5, "test_seconds": 1e4}
    earlier |= {"init": {"seconds": 7.0, "images": 5, "spilled": []}}
    earlier["spent"] = {"seconds": 2e5, "peak_memory_mb": 3e6, "resumed_after": [4]}
    changed = rewrite(whole[1], tmp_path / "changed", state=lambda _: earlier)
    trained, ours = resume(cell, tmp_path, changed)
    assert 1e5 < trained.train_seconds < 1e5 + 100
    assert 1e4 < trained.monitor.test_seconds < 1e4 + 100
    assert (trained.init.seconds, trained.init.images) == (7.0, 5)
    assert ours.peak_memory_mb() == 3e6
    assert ours.notes() == {"resumed_after_epochs": [4, 1], "seconds_before_resuming": 2e5}


def test_seconds_before_a_checkpoint_count_once():
    monitor = TrainingMonitor(test_seconds=30.0, start_time=0.0, earlier_seconds=130.0)
    once = TrainingMonitor(start_time=0.0)
    assert monitor.train_seconds() - once.train_seconds() == pytest.approx(100.0, abs=1)


def test_progress_tells_of_the_epochs_before_the_checkpoint_too(cell, whole, tmp_path):
    ours, told = Checkpoints(cell, Store(tmp_path), CPU, every=1e6), list[int]()
    ours.path.parent.mkdir()
    shutil.copy(whole[1], ours.path)
    train(cell, ours, told.append)
    assert told == [1, 2]


def test_a_checkpoint_of_the_last_epoch_leaves_nothing_to_train(cell, whole, tmp_path):
    folder = tmp_path / "first"
    train(cell, Checkpoints(cell, Store(folder), CPU, every=0.0))
    last = shutil.copy(Store(folder).checkpoint_path(cell.settings), tmp_path / "last")
    resumed, ours = resume(cell, tmp_path, last)
    assert ours.spent.resumed_after == (2,)
    assert_equal(whole[0], resumed)


def rewrite(
    checkpoint: Path,
    path: Path,
    tensors: Callable[[dict[str, torch.Tensor]], Any] = lambda found: found,
    state: Callable[[dict[str, Any]], Any] = lambda found: found,
) -> Path:
    """Write a changed checkpoint with a hash that is right."""
    found, text = checkpoint_file.read(checkpoint)
    checkpoint_file.write(path, tensors(found), state(json.loads(text)))
    return path


@pytest.mark.parametrize(
    ("name", "then"),
    [
        ("torch", "2.0.0"),
        ("python", "3.9.1"),
        ("device", "cuda"),
        ("device_name", "another processor"),
        ("threads", 64),
        ("processes", 2),
        ("source_sha256", "0" * 64),
    ],
)
def test_one_of_another_environment_is_refused(name, then, whole, place, refused):
    rewrite(whole[1], place, state=lambda s: {**s, "environment": {**s["environment"], name: then}})
    assert f"it was written with {name} " in refused()


def test_one_of_another_cell_is_refused(cards, place, refused, tmp_path):
    other = cell_of(cards, "linear")
    _, kept = train_whole(other, tmp_path / "other")
    shutil.copy(kept[1], place)
    assert f"it is of the cell {other.digest!r}" in refused()


def test_a_changed_backbone_is_refused(whole, place, refused):
    rewrite(whole[1], place, state=lambda s: {**s, "frozen_sha256": "0" * 64})
    assert "what is frozen had other values when it was written" in refused()


def drop(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda found: {key: value for key, value in found.items() if key != name}


def put(**entries: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda found: {**found, **entries}


HEAD, MOMENT = "model.head.bias", "optimiser.0.exp_avg"
STRANGE = {  # whole files with a right hash that no training wrote
    "a tensor of the model is missing": ("tensors", drop(HEAD), f"it lacks {HEAD[6:]}"),
    "a tensor has another shape": ("tensors", put(**{HEAD: torch.zeros(3)}), "(3,) and not (2,)"),
    "a tensor has another type": ("tensors", put(**{HEAD: torch.zeros(2).int()}), "torch.int32"),
    "a tensor of no place": ("tensors", put(**{"model.x.y": torch.zeros(2)}), "does not exist"),
    "a moment is missing": ("tensors", drop(MOMENT), "the optimiser lacks tensors"),
    "a moment has another shape": ("tensors", put(**{MOMENT: torch.zeros(5)}), "other shapes"),
    "no labels": ("tensors", drop("labels"), "KeyError"),
    "no losses": ("state", put(losses=[]), "it is of epoch 0"),
    "too many epochs": ("state", put(losses=[1.0] * 3), "it is of epoch 3"),
    "a text as losses": ("state", put(losses="1.0"), "losses"),
    "no rates": ("state", put(rates=[]), "argument 2 is shorter"),
    "no generators": ("state", put(generator_states=[]), "IndexError"),
    "generators of another form": ("state", put(generator_states=[{"python": 1}]), "TypeError"),
    "an unknown entry": ("state", put(more=1), "more"),
    "an entry is missing": ("state", drop("rates"), "rates is missing"),
    "others learn": ("state", put(trainable=["head.weight"]), "other parameters learnt"),
}


@pytest.mark.sample(4)
@pytest.mark.parametrize("kind", STRANGE)
def test_a_strange_one_is_refused(kind, whole, place, refused):
    part, change, why = STRANGE[kind]
    rewrite(whole[1], place, **{part: change})
    assert why in refused()


PLACED: dict[str, Callable[[Path, bytes], object]] = {
    "cut": lambda path, found: path.write_bytes(found[:-1]),
    "empty": lambda path, found: path.write_bytes(b""),
    "text": lambda path, found: path.write_bytes(b"{}"),
    "longer": lambda path, found: path.write_bytes(found + b"\0"),
    "a header without end": lambda path, found: path.write_bytes(b"\xff" * 7 + b"\x7f{"),
    "a folder": lambda path, found: path.mkdir(),
    "a link": lambda path, found: path.symlink_to("/dev/zero"),
    "a link to nothing": lambda path, found: path.symlink_to(path.with_name("nothing")),
    "a pipe": lambda path, found: os.mkfifo(path),
}


@pytest.mark.parametrize("kind", PLACED)
def test_what_is_no_checkpoint_is_refused(kind, whole, place, refused):
    PLACED[kind](place, whole[1].read_bytes())
    refused()


def test_a_folder_of_checkpoints_that_leads_out_is_not_followed(cell, refused, tmp_path, whole):
    outside = tmp_path.with_name(f"{tmp_path.name}-outside")
    outside.mkdir()
    shutil.copy(whole[1], outside / f"{cell.digest}.safetensors")
    (tmp_path / ".checkpoints").symlink_to(outside)
    assert "is a link that leads out" in refused()


@pytest.fixture
def small_disk():
    """No file may be larger than 1,000 bytes: writing more fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_ends_no_training(cell, whole, tmp_path):
    ours = Checkpoints(cell, Store(tmp_path), CPU, every=0.0)
    trained = train(cell, ours)
    assert_equal(whole[0], trained)
    (why,) = ours.notes()["checkpoint_problems"]  # said once, though it was tried twice
    assert why.startswith(f"{ours.path} could not be written: ")
    assert "File too large" in why
    assert not list((tmp_path / ".checkpoints").iterdir())


def test_where_one_cannot_be_written_the_last_one_is_kept(cell, tmp_path, monkeypatch):
    ours, write = Checkpoints(cell, Store(tmp_path), CPU, every=0.0), checkpoint_file.save_file

    def fill_up(epoch: int) -> None:
        def refuse(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(checkpoint_file, "save_file", write if epoch == 1 else refuse)

    train(cell, ours, fill_up)
    assert [len(json.loads(checkpoint_file.read(ours.path)[1])["losses"])] == [1]
    assert ours.problems == [
        f"{ours.path} could not be written: [Errno 28] No space left on device"
    ]


def test_a_results_folder_that_was_removed_is_not_made_again(cell, tmp_path):
    store = Store(tmp_path / "results")
    store.make()
    ours = Checkpoints(cell, store, CPU, every=0.0)
    train(cell, ours, lambda epoch: shutil.rmtree(store.root, ignore_errors=True))
    assert not store.root.exists()
    assert "no longer there" in ours.problems[0]


def test_what_a_killed_process_left_half_written_is_replaced(cell, tmp_path):
    ours = Checkpoints(cell, Store(tmp_path), CPU, every=0.0)
    ours.path.parent.mkdir()
    part = checkpoint_file.partial_file(ours.path)
    part.write_bytes(b"half")
    train(cell, ours)
    assert [path.name for path in ours.path.parent.iterdir()] == [ours.path.name]
    part.write_bytes(b"half")
    checkpoint_file.remove(ours.path)
    assert not list(ours.path.parent.iterdir())


def test_a_method_that_fails_to_save_its_state_ends_no_training(cell, whole, tmp_path, monkeypatch):
    def fail(self: Any, model: Any) -> None:
        raise RuntimeError("no state")

    monkeypatch.setattr(type(cell.method), "training_state", fail)
    ours = Checkpoints(cell, Store(tmp_path), CPU, every=0.0)
    assert_equal(whole[0], train(cell, ours))
    assert ours.problems == [f"{ours.path} could not be written: no state"]


def test_with_the_record_the_checkpoint_goes(cell, tmp_path):
    store, seen = Store(tmp_path), list[bool]()
    path = store.checkpoint_path(cell.settings)

    def look(epoch: int, *_: Any) -> None:
        seen.append(path.exists())

    record = runner.run(cell, store, CPU, look, checkpoint_every=0.0)
    assert record.outcome
    assert seen == [False, True]
    assert not path.exists()
