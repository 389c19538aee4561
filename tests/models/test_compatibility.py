"""A method that cannot be attached is n/a on that backbone; a user's wrong fields are refused."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.models import VisionTransformer

import methods
from bench.cli import main
from bench.config.backbone import load_backbone
from bench.models import compatibility
from bench.models.backbones import Backbone, resolve
from bench.performance import parameter_counts
from bench.training import runner
from methods import Method, Unsupported, register
from methods.linear import Linear
from support import tiny

pytestmark = pytest.mark.usefixtures("no_figures")

ODD = {  # the MLP is 5.6 times as wide as the tokens
    "timm": "vit_little_patch16_reg1_gap_256",
    "pooling": "avg",
    "architecture": {"depth": 2},
}


@dataclass(frozen=True)
class Raising(Linear):
    """Fails in `attach` with what `error` says, but on backbones as wide as `fits`."""

    error: str = "KeyError"
    fits: int = 0

    def attach(self, model: VisionTransformer) -> None:
        kinds: dict[str, type[Exception]] = {
            kind.__name__: kind
            for kind in (KeyError, ValueError, AttributeError, AssertionError, NotImplementedError)
        }
        if model.embed_dim != self.fits:
            raise kinds[self.error]("no way")


@dataclass(frozen=True)
class Looking(Linear):
    """Reads a weight when it attaches."""

    def attach(self, model: VisionTransformer) -> None:
        assert model.pos_embed.std().item() > 0


def run(cards: Path, results: Path, names: str, *more: str) -> int:
    return main.main(tiny.command("run", cards, results, names, *more))


def endings(results: Path) -> dict[tuple[str, str], str]:
    """How each cell ended, by backbone and method."""
    found = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (results / "records").rglob("*.json")
    ]
    return {
        (record["settings"]["backbone"], record["settings"]["method"]): ended(record)
        for record in found
    }


def ended(record: dict[str, Any]) -> str:
    return record["failure"]["kind"] if record["failure"] else "ok"


def backbone(folder: Path, **changed: Any) -> Backbone:
    return resolve(load_backbone(str(tiny.backbone_card(folder / "other.toml", **changed))))


def test_one_tuner_s_refusal_on_one_backbone_leaves_the_other_cells_of_the_sweep(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tiny.backbone_card(tmp_path / "odd.toml", **ODD)
    names = "linear,peft_c3a,peft_lora"
    both = ("--backbones", f"{cards / 'small.toml'},{odd}")
    assert run(cards, tmp_path / "results", names, *both) == 0
    found = endings(tmp_path / "results")
    assert found.pop(("odd", "peft_c3a")) == "unsupported"
    assert len(found) == 5
    assert set(found.values()) == {"ok"}
    said = capsys.readouterr()
    assert "n/a: it cannot be attached to this backbone: ValueError: The block size" in said.err
    assert "n/a" in (tmp_path / "results" / "leaderboard.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("error", ["KeyError", "ValueError", "AttributeError", "AssertionError"])
def test_whatever_attach_raises_is_n_a_with_its_sentence_and_its_place(
    cards: Path, tmp_path: Path, error: str
) -> None:
    register("aa_raising", Raising(error))
    assert run(cards, tmp_path, "aa_raising,linear") == 0
    assert endings(tmp_path) == {("small", "aa_raising"): "unsupported", ("small", "linear"): "ok"}
    record = json.loads(next(tmp_path.rglob("aa_raising-*.json")).read_text(encoding="utf-8"))
    failure = record["failure"]
    assert failure["error"] == error
    assert failure["message"].startswith("it cannot be attached to this backbone: " + error)
    assert "in attach" in failure["traceback"]


def test_a_cell_that_is_n_a_computes_nothing(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("aa_raising", Raising())
    monkeypatch.setattr(runner, "load_training_examples", None)
    monkeypatch.setattr(runner.backbones, "load", None)
    assert run(cards, tmp_path, "aa_raising") == 0


PROMPTS = ["vpt_deep", "vpt_shallow", "spt_deep", "spt_shallow_kmeans", "e2vpt", "gatevpt", "vqt"]


@pytest.mark.sample(4)
@pytest.mark.parametrize("kind", ["vitamin_small_224", "vit_base_mci_224"])
@pytest.mark.parametrize("name", [*PROMPTS, "sidetune", "ssf"])
def test_a_patch_embedding_that_is_a_network_bounds_prompts_and_is_named_where_it_cannot_serve(
    tmp_path: Path, name: str, kind: str
) -> None:
    card = {"timm": kind, "architecture": {"depth": 2}, "pooling": "backbone", "input_size": 224}
    error = compatibility.attach_error(backbone(tmp_path, **card), methods.create(name))
    if name in PROMPTS:
        assert error is None
    else:
        assert error is not None
        assert "patch_embed.proj" in str(error)
        assert error.__cause__ is None
        assert "cannot be attached" not in str(error)


def test_side_tuning_is_not_for_a_stem_that_sees_the_images_first(tmp_path: Path) -> None:
    hybrid = backbone(tmp_path, timm="vit_tiny_r_s16_p8_224", architecture={}, input_size=224)
    with pytest.raises(Unsupported, match="HybridEmbed has another network before it"):
        compatibility.require_attachable(hybrid, methods.create("sidetune"))
    compatibility.require_attachable(hybrid, methods.create("vpt_deep"))


def test_a_method_that_reads_weights_as_it_attaches_is_run(cards: Path, tmp_path: Path) -> None:
    register("looking", Looking())
    assert run(cards, tmp_path, "looking") == 0
    assert endings(tmp_path) == {("small", "looking"): "ok"}


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("peft_lora", "options={ r = 0 }", "peft_lora with options={'r': 0}: "),
        ("peft_lora", "targets=nothing", "peft_lora with targets=nothing: no module with weights"),
        ("vpt_deep", "prompts=-1", "vpt_deep: the number of prompts must be at least 1"),
        ("lora", "rank=0", "lora: LoRA's rank must be at least 1; 0 was given"),
        ("raising", "fits=65", "raising with fits=65: it cannot be attached"),
    ],
)
def test_fields_that_fit_no_backbone_are_refused_before_any_compute(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], name: str, change: str, says: str
) -> None:  # fmt: skip
    register("raising", Raising(fits=64))
    monkeypatch.setattr(runner, "run", None)
    assert run(cards, tmp_path, f"linear,{name}", "--set", change) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"bench: {says}")


def test_fields_that_fit_some_backbone_are_n_a_on_the_others(cards: Path, tmp_path: Path) -> None:
    register("raising", Raising(fits=64))
    wide = tiny.backbone_card(
        tmp_path / "wide.toml", architecture={**tiny.ARCHITECTURE, "embed_dim": 96}
    )
    both = ("--backbones", f"{cards / 'small.toml'},{wide}", "--set", "fits=96")
    assert run(cards, tmp_path, "raising", *both) == 0
    assert endings(tmp_path) == {("small", "raising"): "unsupported", ("wide", "raising"): "ok"}


@pytest.mark.long
def test_a_worker_that_plans_such_a_cell_alone_does_not_refuse_it(
    cards: Path, tmp_path: Path
) -> None:
    odd = tiny.backbone_card(tmp_path / "odd.toml", **ODD)
    both = ("--backbones", f"{cards / 'small.toml'},{odd}", "--workers", "1")
    own = ("--set", "options={ group_size = 80 }")  # does not divide the odd one's MLP; 64 does
    assert run(cards, tmp_path, "peft_road", *own, *both) == 0
    assert endings(tmp_path) == {("small", "peft_road"): "ok", ("odd", "peft_road"): "unsupported"}


def test_what_no_backbone_allows_even_as_registered_is_n_a_whatever_is_set(
    cards: Path, tmp_path: Path
) -> None:
    register("raising", Raising())
    assert run(cards, tmp_path, "raising", "--set", "error=ValueError") == 0
    assert endings(tmp_path) == {("small", "raising"): "unsupported"}


@pytest.mark.long
def test_costs_of_the_others_are_measured(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register("raising", Raising())
    words = ["cost", "--methods", "raising,linear", "--backbones", str(cards / "small.toml")]
    how = ["--rounds", "1", "--batch", "2", "--device", "cpu", "--results", str(tmp_path)]
    assert main.main([*words, *how]) == 0
    said = capsys.readouterr().out
    assert "raising: n/a: it cannot be attached to this backbone: KeyError" in said
    assert "linear on" in said


@pytest.mark.long
def test_the_ledger_of_parameters_counts_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    register("raising", Raising())
    monkeypatch.setattr(methods, "names", lambda: ["linear", "raising"])
    lines = [
        line.split()
        for line in parameter_counts.markdown_page().splitlines()
        if "| raising" in line
    ]
    counts, traits = lines
    assert counts == ["|", "raising", "|", "–", "|", "–", "|", "n/a", "|", "n/a", "|"]
    assert "n/a" in traits


def test_check_method_says_why_a_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["check-method", "peft_prefix_tuning"]) == 2
    assert "is no method here: it needs the configuration" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("no room"), RuntimeError("can't allocate")]
)
def test_memory_that_runs_out_as_a_method_attaches_says_nothing_of_the_backbone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(self: Method, model: VisionTransformer) -> None:
        raise error

    monkeypatch.setattr(Linear, "attach", full)
    assert compatibility.attach_error(backbone(tmp_path), Linear()) is None
