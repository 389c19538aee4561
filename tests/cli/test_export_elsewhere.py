"""Exports for PEFT and timm score the same when these load them; and the models' cards."""

import json
import re
import warnings

import pytest
import timm
import torch

from bench.cli.main import main
from bench.execution import peft_export
from support.tiny import ARCHITECTURE, backbone_card, command, write_all

peft = pytest.importorskip("peft")
NOISE = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("tiny"))


def exported(folder, results, name, *more):
    """Run a cell and export it; the exit status, and the accuracy of its record."""
    assert main(command("run", folder, results, name)) == 0
    (record,) = results.rglob(f"{name}-seed0-*.json")
    words = ["export", "--record", str(record), "--data-root", str(folder / "data")]
    words += ["--device", "cpu", "--out", str(results / "own.safetensors"), *map(str, more)]
    accuracy = json.loads(record.read_text(encoding="utf-8"))["outcome"]["accuracy"]
    return main(words), accuracy


def plain(**more):
    """The tiny backbone as others make it: its weights are those of the seed 0."""
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=2, **ARCHITECTURE, **more)
    return model.eval()


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", ["peft_lora", "peft_fourierft", "peft_vera", "peft_pissa"])
def test_an_adapter_of_peft_loads_on_timm_s_model_and_scores_the_same(
    name, folder, tmp_path, capsys
):
    out, merged = tmp_path / "adapter", tmp_path / "merged.safetensors"
    status, accuracy = exported(
        folder, tmp_path / "results", name, "--peft", out, "--merged", merged
    )
    assert status == 0
    assert f"read back, {accuracy:.2f} % on test" in capsys.readouterr().out
    assert {p.name for p in out.iterdir()} == {
        *("adapter_config.json", "adapter_model.safetensors", "README.md")
    }
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = peft.PeftModel.from_pretrained(plain(), out).eval()
        folded = plain(checkpoint_path=str(merged))
        assert torch.allclose(loaded(NOISE), folded(NOISE), atol=1e-4)
        assert not torch.allclose(loaded(NOISE), plain()(NOISE), atol=1e-3)


def test_only_peft_s_methods_leave_as_its_adapter(folder, tmp_path, capsys):
    out = tmp_path / "adapter"
    status, _ = exported(folder, tmp_path / "results", "vpt_deep", "--peft", out)
    assert status == 2
    wanted = "bench: vpt_deep cannot leave as PEFT's adapter: only the methods called peft_..."
    assert capsys.readouterr().err.splitlines()[-1].startswith(wanted)
    assert not out.exists()
    assert not list(tmp_path.rglob("own.safetensors")), "refused before it trains"


def test_names_that_others_do_not_take_are_refused_before_training(folder, tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    for more, said in (
        (("--merged", tmp_path / "m.bin"), "--merged needs a file name that ends in .safetensors"),
        (("--peft", file), "--peft writes a folder"),
    ):
        status, _ = exported(folder, tmp_path / more[0], "peft_lora", *more)
        assert status == 2
        assert capsys.readouterr().err.splitlines()[-1].startswith(f"bench: {said}")
        assert not list(tmp_path.rglob("own.safetensors"))


def test_an_adapter_that_would_score_otherwise_is_not_left(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(peft_export, "head_names", lambda model: [])
    status, _ = exported(folder, tmp_path / "results", "peft_lora", "--peft", tmp_path / "adapter")
    assert status == 2
    assert "the model that PEFT loads gives other logits" in capsys.readouterr().err
    assert not list(tmp_path.rglob("adapter_config.json"))


def test_a_card_says_what_the_model_is_and_its_python_loads_it(folder, tmp_path, monkeypatch):
    out, merged = tmp_path / "adapter", tmp_path / "merged.safetensors"
    _, accuracy = exported(
        folder, tmp_path / "results", "peft_lora", "--peft", out, "--merged", merged
    )
    monkeypatch.chdir(tmp_path)
    for card in (out / "README.md", tmp_path / "merged.md"):
        text = card.read_text(encoding="utf-8")
        for said in (
            *("| backbone | small (timm's vit_tiny_patch16_224) |", "sha256 | random |"),
            *("| task | light of tiny 1 |", "| recipe | quick 1 (lr=", "| their licence | "),
            f"| accuracy | {accuracy:.2f} % top-1 on test |",
        ):
            assert said in text, said
        assert text.startswith("---\nlibrary_name: ")
        (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        made = {}
        exec(code, made)
        assert made["model"].eval()(NOISE).shape == (3, 2)


def test_a_backbone_that_reads_weights_past_peft_s_layers_is_refused(folder, tmp_path, capsys):
    small = {"embed_dim": 32, "depth": 2, "num_heads": 2}
    card = backbone_card(
        tmp_path / "b.toml",
        timm="beit_base_patch16_224",
        pooling="",
        architecture=small,
    )
    results = tmp_path / "results"
    words = command("run", folder, results, "peft_lora", "--backbones", str(card))
    assert main(words) == 0
    (record,) = results.rglob("peft_lora-seed0-*.json")
    words = ["export", "--record", str(record), "--data-root", str(folder / "data")]
    out = tmp_path / "own.safetensors"
    assert main([*words, "--device", "cpu", "--out", str(out), "--peft", str(tmp_path / "a")]) == 2
    assert "timm reads the weight of a layer that PEFT replaces" in capsys.readouterr().err
    assert out.exists()
    assert not (tmp_path / "a").exists()
