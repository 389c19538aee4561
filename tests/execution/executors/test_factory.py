"""How many workers a run starts, and with how many threads and which GPUs."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.execution import room
from bench.execution.executors import factory, in_process, local
from bench.execution.request import RunOptions
from bench.models import backbones
from bench.training.cell import Cell
from bench.utils import parallel
from bench.utils.errors import UserError
from support import tiny

SMALL, LARGE = "vit_mini_sup", "large.toml"  # whose card is written
VIT_B_PARAMETERS = 85_798_656  # ViT-B/16 at 224 pixels, without a head
PLENTY = 1e12  # bytes


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine of eight cores, whose environment asks for nothing, and a card of a ViT-B."""
    about = {"timm": "vit_base_patch16_224", "input_size": 224, "architecture": {}}
    tiny.backbone_card(tmp_path / LARGE, **about)
    monkeypatch.chdir(tmp_path)
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(parallel, "available_cores", lambda: 8)
    for module in (factory, room):
        monkeypatch.setattr(module, "free_memory", lambda device: PLENTY)
    return monkeypatch


def cells_with(*names: str) -> list[Cell]:
    found = {name: backbones.find(name) for name in set(names)}
    return [cast(Cell, SimpleNamespace(backbone=found[name])) for name in names]


def environments(
    cells: Sequence[Cell], monkeypatch: pytest.MonkeyPatch, device: str = "cpu", **options: Any
) -> list[dict[str, str]]:
    """Return the environments of the workers that a local run of the cells starts."""
    made: list[dict[str, str]] = []
    monkeypatch.setattr(local, "LocalExecutor", lambda argv, given, timeout: made.extend(given))
    factory.make_executor(Path("results"), device, RunOptions(**options), cells)
    return made


def test_small_backbones_get_one_worker_a_core_with_one_thread(machine):
    assert environments(cells_with(*[SMALL] * 20), machine) == [{"OMP_NUM_THREADS": "1"}] * 8


def test_there_are_no_more_workers_than_cells(machine):
    assert len(environments(cells_with(SMALL, SMALL, SMALL), machine)) == 3


def test_two_cells_share_the_cores_of_the_machine(machine):
    assert environments(cells_with(SMALL, SMALL), machine) == [{"OMP_NUM_THREADS": "4"}] * 2


def test_a_run_without_cells_starts_one_worker(machine):
    assert len(environments([], machine)) == 1


def test_there_are_no_more_workers_than_memory_holds(machine):
    machine.setattr(factory, "free_memory", lambda device: 3.5 * factory.WORKER_MEMORY)
    assert len(environments(cells_with(*[SMALL] * 20), machine)) == 3
    machine.setattr(factory, "free_memory", lambda device: 0)
    assert len(environments(cells_with(*[SMALL] * 20), machine)) == 1


def test_a_large_backbone_gets_all_cores_whose_threads_sleep_while_they_wait(machine):
    passive = {"OMP_NUM_THREADS": "8", "OMP_WAIT_POLICY": "PASSIVE"}
    assert environments(cells_with(LARGE, LARGE), machine) == [passive]


def test_one_large_backbone_among_small_ones_decides(machine):
    assert len(environments(cells_with(SMALL, SMALL, LARGE), machine)) == 1


def test_a_number_of_workers_that_is_asked_for_is_kept(machine):
    assert len(environments(cells_with(SMALL), machine, workers=5)) == 5
    assert len(environments(cells_with(*[SMALL] * 20), machine, workers=2)) == 2
    assert len(environments(cells_with(LARGE), machine, workers=2)) == 2


def test_zero_workers_train_in_the_command_s_own_process(machine, tmp_path):
    made = factory.make_executor(tmp_path, "cpu", RunOptions(workers=0), cells_with(SMALL))
    assert isinstance(made, in_process.InProcessExecutor)


@pytest.mark.parametrize(("threads", "workers"), [("1", 8), ("2", 4), ("3,2", 2), ("64", 1)])
def test_the_user_s_own_threads_are_kept_and_fit_the_cores(machine, threads, workers):
    machine.setenv("OMP_NUM_THREADS", threads)
    found = environments(cells_with(*[SMALL] * 20), machine)
    assert found == [{"OMP_NUM_THREADS": threads}] * workers


@pytest.mark.parametrize("odd", ["", "x", "-3", "0", "1e9", "²", "9" * 5000])
def test_threads_that_cannot_be_read_count_as_one(machine, odd):
    machine.setenv("OMP_NUM_THREADS", odd)
    assert len(environments(cells_with(*[SMALL] * 20), machine)) == 8


def test_the_user_s_own_wait_policy_is_kept(machine):
    machine.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert environments(cells_with(LARGE), machine)[0]["OMP_WAIT_POLICY"] == "ACTIVE"


def test_gpus_get_one_worker_each_whatever_the_backbone(machine):
    machine.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    machine.setattr(factory, "require_gpus", lambda *about: None)
    for name in (SMALL, LARGE):
        found = environments(cells_with(*[name] * 20), machine, "cuda")
        assert [each["CUDA_VISIBLE_DEVICES"] for each in found] == ["3", "5"]
        assert [each["OMP_NUM_THREADS"] for each in found] == ["4", "4"]
        assert not any("OMP_WAIT_POLICY" in each for each in found)


def test_processes_that_train_a_cell_together_are_not_multiplied(machine):
    assert len(environments(cells_with(*[SMALL] * 20), machine, processes=2)) == 1


def test_parameters_are_those_of_the_backbone_without_its_head():
    assert backbones.num_parameters(backbones.find(LARGE)) == VIT_B_PARAMETERS


def test_weights_larger_than_the_memory_are_refused_on_a_cpu_alone(machine):
    machine.setattr(room, "free_memory", lambda device: 4 * VIT_B_PARAMETERS - 1)
    cells = cells_with(SMALL, LARGE)
    with pytest.raises(UserError, match="the weights of large take 343"):
        environments(cells, machine)
    assert environments(cells[:1], machine)
    assert environments(cells, machine, "cuda:1")  # to ask a GPU would take some of its memory
