"""Cells on a GPU: equal again, out of memory without harm to the next, and flat in memory."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.cli import main
from methods.linear import Linear
from methods.shared import memory
from support import run_records, tiny

pytestmark = pytest.mark.usefixtures("no_figures")
TWICE = "linear,bias,lora,vpt_deep,spt_deep_kmeans,gps"


def run(cards: Path, results: Path, methods: str, device: torch.device, *more: str) -> int:
    words = tiny.command("run", cards, results, methods, *more)
    words[words.index("--device") + 1] = device.type
    return main.main(words)


def numbers(results: Path) -> dict[str, Any]:
    """The numbers of records by method, without times and memory."""
    names = ("accuracy", "losses", "predictions", "test_accuracies")
    records = run_records.by_method(results)
    return {m: {n: r["outcome"][n] for n in names} for m, r in records.items()}


def test_training_twice_with_one_seed_is_equal(
    cards: Path, tmp_path: Path, device: torch.device
) -> None:
    for folder in ("once", "again"):
        assert run(cards, tmp_path / folder, TWICE, device) == 0
    once, again = numbers(tmp_path / "once"), numbers(tmp_path / "again")
    differ = [method for method in once if once[method] != again[method]]
    assert not differ, f"{differ} differ; {_nondeterministic(cards, tmp_path, differ, device)}"


def _nondeterministic(cards: Path, folder: Path, methods: list[str], device: torch.device) -> str:
    """The operator that torch names where it must not use one that varies."""
    torch.use_deterministic_algorithms(True)
    try:
        run(cards, folder / "deterministic", ",".join(methods), device)
    finally:
        torch.use_deterministic_algorithms(False)
    records = run_records.by_method(folder / "deterministic").values()
    return "; ".join(r["failure"]["message"] for r in records if r["failure"]) or "no operator"


@dataclass(frozen=True)
class Greedy(Linear):
    """Asks for a petabyte on the device of the images."""

    def prepare(self, model: Any, batches: Any) -> None:
        for images, _ in batches:
            torch.empty(2**50, dtype=torch.uint8, device=images.device)


def test_out_of_memory_is_recorded_and_the_next_cell_is_unharmed(
    cards: Path, tmp_path: Path, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_records.register(monkeypatch, "greedy", Greedy())
    assert run(cards, tmp_path / "both", "greedy,lora", device) == 1
    assert run(cards, tmp_path / "alone", "lora", device) == 0
    records = run_records.by_method(tmp_path / "both")
    assert records["greedy"]["failure"]["error"] == "OutOfMemory"
    assert numbers(tmp_path / "alone")["lora"] == {
        name: records["lora"]["outcome"][name] for name in numbers(tmp_path / "alone")["lora"]
    }


def test_memory_is_flat_over_fifty_cells(cards: Path, tmp_path: Path, device: torch.device) -> None:
    taken = []
    for batch in range(5):
        seeds = ",".join(map(str, range(10 * batch, 10 * batch + 10)))
        assert run(cards, tmp_path, "lora", device, "--seeds", seeds) == 0
        taken.append(_allocated(device))
    assert taken[-1] <= taken[0]


def _allocated(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def test_two_workers_share_a_gpu(cards: Path, tmp_path: Path, device: torch.device) -> None:
    more = ("--workers", "2", "--per-gpu", "2", "--seeds", "0,1,2")
    assert run(cards, tmp_path / "two", "lora", device, *more) == 0
    assert run(cards, tmp_path / "one", "lora", device, "--seeds", "0,1,2") == 0
    two, one = (
        {name: r["outcome"]["accuracy"] for name, r in run_records.records(tmp_path / f).items()}
        for f in ("two", "one")
    )
    assert two == one
    assert len(one) == 3


def test_a_group_of_one_process_has_the_numbers_of_none(
    cards: Path, tmp_path: Path, device: torch.device
) -> None:
    assert run(cards, tmp_path / "group", "lora", device, "--workers", "1", "--processes", "1") == 0
    assert run(cards, tmp_path / "plain", "lora", device) == 0
    assert numbers(tmp_path / "group") == numbers(tmp_path / "plain")


def test_memory_and_time_of_a_record_are_those_of_the_device(
    cards: Path, tmp_path: Path, device: torch.device
) -> None:
    assert run(cards, tmp_path, "full,linear", device) == 0
    outcomes = {m: r["outcome"] for m, r in run_records.by_method(tmp_path).items()}
    assert outcomes["linear"]["peak_memory_mb"] > 0
    assert outcomes["full"]["train_seconds"] > 0
    limit = memory.free_memory(torch.device("cpu")) if device.type == "cpu" else _capacity(device)
    assert outcomes["full"]["peak_memory_mb"] * 2**20 < limit
    about = json.loads(next((tmp_path / "records").rglob("*.json")).read_text(encoding="utf-8"))
    assert about["environment"]["device"] == device.type


def _capacity(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).total_memory
