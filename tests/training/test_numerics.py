"""How a process computes: no TF32 but by the recipe's precision, and deterministic on demand."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.backends import cuda, cudnn

from bench.cli import main
from bench.training import devices, numerics
from bench.utils.errors import UserError
from methods.linear import Linear
from methods.shared import registry
from support import run_records, tiny

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def allowed() -> tuple[bool, bool]:
    """Whether products and convolutions may use TF32."""
    return cuda.matmul.allow_tf32, cudnn.allow_tf32


SEEN: list[tuple[tuple[bool, bool], bool]] = []


@dataclass(frozen=True)
class Watching(Linear):
    """Notes how the process computes, wherever a method is called."""

    def prepare(self, model: Any, batches: Any) -> None:
        self._note()
        super().prepare(model, batches)

    def loss(self, *args: Any, **named: Any) -> Any:
        self._note()
        return super().loss(*args, **named)

    def _note(self) -> None:
        SEEN.append((allowed(), torch.are_deterministic_algorithms_enabled()))


@pytest.fixture
def watching(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(registry._methods, "watching", Watching())
    SEEN.clear()
    return "watching"


@pytest.fixture(params=[(False, True), (True, False)], ids=["as torch starts", "by the user"])
def elsewhere(request: pytest.FixtureRequest) -> Iterator[tuple[bool, bool]]:
    """The settings of the process outside of cells."""
    before = allowed()
    cuda.matmul.allow_tf32, cudnn.allow_tf32 = request.param
    yield request.param
    cuda.matmul.allow_tf32, cudnn.allow_tf32 = before


def run(cards: Path, results: Path, method: str, *more: str) -> dict[str, Any]:
    assert main.main(tiny.command("run", cards, results, method, *more)) == 0
    return run_records.by_method(results)[method]


@pytest.mark.sample(1)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_no_cell_of_another_precision_uses_tf32(
    cards: Path, tmp_path: Path, watching: str, elsewhere: tuple[bool, bool], precision: str
) -> None:
    run(cards, tmp_path, watching, "--set", f"precision={precision}")
    assert {seen[0] for seen in SEEN} == {(False, False)}
    assert allowed() == elsewhere


def test_tf32_is_used_by_the_precision_of_that_name_alone(elsewhere: tuple[bool, bool]) -> None:
    with numerics.arithmetic("tf32"):
        assert allowed() == (True, True)
    assert allowed() == elsewhere


def test_an_error_in_a_cell_leaves_the_process_as_it_was(elsewhere: tuple[bool, bool]) -> None:
    with pytest.raises(ZeroDivisionError), numerics.arithmetic("fp32"):
        raise ZeroDivisionError
    assert allowed() == elsewhere


@pytest.mark.long
def test_a_record_says_whether_its_cell_was_deterministic(cards: Path, tmp_path: Path) -> None:
    plain = run(cards, tmp_path / "plain", "linear")
    here = run(cards, tmp_path / "here", "linear", "--deterministic")
    worker = run(cards, tmp_path / "worker", "linear", "--deterministic", "--workers", "1")
    told = [record["environment"]["deterministic"] for record in (plain, here, worker)]
    assert told == [False, True, True]
    assert plain["cell"] == here["cell"] == worker["cell"]
    assert not torch.are_deterministic_algorithms_enabled()


def test_every_part_of_a_deterministic_cell_is_so(
    cards: Path, tmp_path: Path, watching: str
) -> None:
    run(cards, tmp_path, watching, "--deterministic")
    assert len(SEEN) > 1
    assert all(deterministic for _, deterministic in SEEN)


@dataclass(frozen=True)
class Scattering(Linear):
    """Its loss asks for an operator that is not deterministic."""

    def loss(self, *args: Any, **named: Any) -> Any:
        torch.zeros(2, 2).put_(torch.tensor([0, 0]), torch.ones(2), accumulate=False)
        return super().loss(*args, **named)


def test_an_operator_that_is_not_deterministic_is_named(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._methods, "scattering", Scattering())
    run(cards, tmp_path / "plain", "scattering")
    words = tiny.command("run", cards, tmp_path / "strict", "scattering", "--deterministic")
    assert main.main(words) == 1
    failure = run_records.by_method(tmp_path / "strict")["scattering"]["failure"]
    assert "put_ does not have a deterministic implementation" in failure["message"]


# What cannot be had here


def test_tf32_needs_a_gpu(cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = tiny.command("run", cards, tmp_path, "linear", "--set", "precision=tf32")
    assert main.main(words) == 2
    assert "precision tf32 needs an NVIDIA GPU, and the device is cpu" in capsys.readouterr().err


def test_tf32_needs_a_gpu_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    with pytest.raises(UserError, match="from Ampere on, and this is a Tesla T4"):
        devices.resolve_precision("tf32", GPU)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    assert devices.resolve_precision("tf32", GPU) == "tf32"


@pytest.mark.parametrize(("value", "refused"), [("1", ["fp32", "bf16"]), ("0", ["tf32"]), ("", [])])
def test_a_variable_that_would_change_the_precision_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str, refused: list[str]
) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", value)
    for precision in ("fp32", "tf32", "bf16"):
        if precision in refused:
            with pytest.raises(UserError, match=f"NVIDIA_TF32_OVERRIDE={value} would turn TF32"):
                devices.resolve_precision(precision, GPU)
        else:
            assert devices.resolve_precision(precision, GPU) == precision
        assert precision == "tf32" or devices.resolve_precision(precision, CPU) == precision


# What a record says


def test_a_record_names_the_attention_kernels_that_pytorch_may_choose_from(
    cards: Path, tmp_path: Path
) -> None:
    assert run(cards, tmp_path, "linear")["environment"]["attention"] == "fused: flash, math"


def test_timm_s_explicit_attention_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timm.layers.use_fused_attn", lambda: False)
    assert numerics.describe(CPU)["attention"] == "matmul and softmax"
