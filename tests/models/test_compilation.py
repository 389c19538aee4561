"""compile=true: in the settings only if requested; all blocks, or a clear failure."""

from dataclasses import replace
from functools import partialmethod

import pytest
import torch
from timm.models import VisionTransformer
from torch import Tensor, nn
from torch._inductor import cpp_builder
from torch._inductor.exc import InvalidCxxCompiler

import methods
from bench.cli.main import main
from bench.config.recipe import load_recipe
from bench.models import frozen_trunk, small_models
from bench.models.compilation import NotCompiled, compiled_blocks
from methods.linear import Linear
from support import tiny
from support.run_records import by_method, register

pytestmark = pytest.mark.filterwarnings("ignore:.*CUDA.*")
ON = ("--set", "compile=true")


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are traced to one graph as ever, and that is run as it is: no C++ to wait for."""
    eager = partialmethod(nn.Module.compile, backend="eager")
    monkeypatch.setattr(nn.Module, "compile", eager)
    torch._dynamo.reset()


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    tiny.write_all(tmp_path)
    return lambda *words: main(tiny.command("run", tmp_path, tmp_path / "results", *words))


class Printing(nn.Module):
    """A block with what no graph can hold."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.block, self.scale = block, nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        torch._dynamo.graph_break()
        return self.block(x) * self.scale


class Broken(Linear):
    def attach(self, model: VisionTransformer) -> None:
        model.blocks[0] = Printing(model.blocks[0])


def test_a_protocol_says_compile_only_where_it_is_asked_for():
    plain = load_recipe("quick")
    named = plain.protocol("mini", "fp32")
    assert "compile" not in named
    assert replace(plain, compile=True).protocol("mini", "fp32") == {**named, "compile": True}


@pytest.mark.parametrize("name", ["vpt_deep", "lora", "vqt"])
def test_blocks_are_compiled_within_alone_and_score_the_same(traced, name):
    model, images = (
        small_models.prepare_copy(methods.create(name), small_models.small_backbone()),
        torch.randn(2, 3, small_models.PIXELS, small_models.PIXELS),
    )
    wanted = frozen_trunk.forward_fn(model)(images)
    with compiled_blocks(model):
        assert all(block._compiled_call_impl for block in model.blocks)
        found = frozen_trunk.forward_fn(model)(images)
    assert torch.allclose(found, wanted, atol=1e-6)
    assert not any(block._compiled_call_impl for block in model.blocks)


def test_a_block_that_is_not_one_graph_is_refused_in_one_sentence(traced):
    model = small_models.prepare_copy(Broken(), small_models.small_backbone())
    with (
        pytest.raises(NotCompiled, match=r"^torch.compile makes no one graph of a block[^\n]*$"),
        compiled_blocks(model),
    ):
        model(torch.randn(2, 3, small_models.PIXELS, small_models.PIXELS))


@pytest.mark.long
def test_a_compiled_run_is_another_cell_and_says_so(traced, run, tmp_path):
    assert run("bias") == 0
    assert run("bias", *ON) == 0
    records = sorted((tmp_path / "results" / "records").rglob("bias-*.json"))
    assert len(records) == 2
    assert by_method(tmp_path / "results")["bias"]["outcome"]
    assert (
        sum(
            '"compile": true' in path.read_text(encoding="utf-8").split('"settings"')[1]
            for path in records
        )
        == 1
    )


def test_a_method_that_cannot_be_compiled_fails_and_says_why(traced, run, tmp_path, monkeypatch):
    register(monkeypatch, "broken", Broken())
    assert run("broken", *ON) == 1
    failure = by_method(tmp_path / "results")["broken"]["failure"]
    assert (failure["kind"], failure["error"]) == ("failed", "NotCompiled")


def test_without_a_compiler_nothing_is_run(run, tmp_path, monkeypatch, capsys):
    def absent() -> str:
        raise InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", absent)
    assert run("bias", *ON) == 2
    assert "needs a C++ compiler: install g++" in capsys.readouterr().err
    assert not list((tmp_path / "results" / "records").iterdir())
