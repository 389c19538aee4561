"""`export`: trained tensors alone, and merged into a plain timm model."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import timm
from safetensors.torch import load_file
from torch import nn

import methods
from bench.cli.main import main
from support import honest_records as honest
from support.tiny import ARCHITECTURE, command, write_all


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("tiny"))


def run(folder, results, name):
    assert main(command("run", folder, results, name)) == 0
    (record,) = results.rglob(f"{name}-seed0-*.json")
    return record


def export(folder, record, *more):
    words = ["export", "--record", str(record), "--data-root", str(folder / "data")]
    return main([*words, "--device", "cpu", *map(str, more)])


@pytest.mark.parametrize("name", ["vpt_deep_frozen", "spt_deep", "lora"])
def test_an_export_holds_what_was_trained_alone_and_scores_as_the_record_says(
    name, folder, tmp_path, capsys
):
    record = run(folder, tmp_path / "results", name)
    out = tmp_path / "small.safetensors"
    capsys.readouterr()
    assert export(folder, record, "--out", out) == 0
    said = capsys.readouterr().out
    accuracy = json.loads(record.read_text(encoding="utf-8"))["outcome"]["accuracy"]
    assert f"read back, {accuracy:.2f} % on test" in said
    assert f"the record says {accuracy:.2f} %" in said
    tensors = load_file(out)
    added = sum(t.numel() for n, t in tensors.items() if not n.startswith("head."))
    width, depth = ARCHITECTURE["embed_dim"], ARCHITECTURE["depth"]
    assert added == (depth * 8 * 4 * width if name == "lora" else depth * 20 * width)


def test_an_export_of_binary_weights_holds_bits_and_scores_as_the_record_says(
    folder, tmp_path, capsys
):
    record = run(folder, tmp_path / "results", "bi_lora")
    out = tmp_path / "small.safetensors"
    assert export(folder, record, "--out", out) == 0
    outcome = json.loads(record.read_text(encoding="utf-8"))["outcome"]
    assert f"read back, {outcome['accuracy']:.2f} % on test" in capsys.readouterr().out
    tensors = load_file(out)
    assert outcome["stored_bytes"] == sum(t.numel() * t.element_size() for t in tensors.values())
    bits = {n: t for n, t in tensors.items() if n.endswith(".bits")}
    assert 8 * sum(t.numel() for t in bits.values()) == outcome["method_params"]


def test_an_export_of_projected_prompts_holds_the_shared_map_once(folder, tmp_path, capsys):
    words = command("run", folder, tmp_path, "vpt_deep", "--set", "projection=4")
    assert main(words) == 0
    (record,) = tmp_path.rglob("vpt_deep-seed0-*.json")
    assert export(folder, record, "--out", tmp_path / "s.safetensors") == 0
    accuracy = json.loads(record.read_text(encoding="utf-8"))["outcome"]["accuracy"]
    assert f"read back, {accuracy:.2f} % on test" in capsys.readouterr().out
    names = load_file(tmp_path / "s.safetensors")
    assert sum("project.weight" in name for name in names) == 1


def test_a_merged_export_loads_into_plain_timm(folder, tmp_path, capsys):
    record = run(folder, tmp_path / "results", "lora")
    out = tmp_path / "merged.safetensors"
    assert export(folder, record, "--out", tmp_path / "s.safetensors", "--merged", out) == 0
    said = capsys.readouterr().out
    accuracy = json.loads(record.read_text(encoding="utf-8"))["outcome"]["accuracy"]
    assert f"merged.safetensors: {out.stat().st_size:,} bytes; read back, {accuracy:.2f} %" in said
    plain = timm.create_model("vit_tiny_patch16_224", num_classes=2, **ARCHITECTURE)
    plain.load_state_dict(load_file(out))


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "name",
    ["peft_lora", "peft_dora", "peft_fourierft", "ssf", "arc", "gps", "sensitivity_lora"],
)
def test_a_merged_export_scores_as_the_record_says(name, folder, tmp_path, capsys):
    record = run(folder, tmp_path / "results", name)
    out = tmp_path / "new" / "m.safetensors"
    assert export(folder, record, "--out", tmp_path / "s.safetensors", "--merged", out) == 0
    accuracy = json.loads(record.read_text(encoding="utf-8"))["outcome"]["accuracy"]
    said = capsys.readouterr().out
    assert f"m.safetensors: {out.stat().st_size:,} bytes; read back, {accuracy:.2f} %" in said


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", ["adapter", "peft_lily", "my_layer"])
def test_what_cannot_be_merged_is_refused_in_a_sentence(name, folder, tmp_path, capsys):
    methods.register("my_layer", LayerBeforeHead())
    record = run(folder, tmp_path / "results", name)
    capsys.readouterr()
    merged = tmp_path / "m.safetensors"
    assert export(folder, record, "--out", tmp_path / "s.safetensors", "--merged", merged) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"bench: {name} cannot be merged: ")
    assert len(err.splitlines()) == 1
    assert not merged.exists()


@dataclass(frozen=True)
class LayerBeforeHead(methods.Method):
    """Adds a layer of torch's own, which no module of a method's shows."""

    def attach(self, model):
        model.head_drop = nn.Linear(model.embed_dim, model.embed_dim)


def test_prompts_cannot_be_merged_and_the_small_file_is_kept(folder, tmp_path, capsys):
    record = run(folder, tmp_path / "results", "vpt_deep")
    out = tmp_path / "s.safetensors"
    assert export(folder, record, "--out", out, "--merged", tmp_path / "m.safetensors") == 2
    assert "vpt_deep cannot be merged" in capsys.readouterr().err
    assert out.exists()


@pytest.mark.parametrize("kind", ["csv", "latex", "parquet"])
def test_results_leave_in_other_formats(tmp_path, kind, capsys):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    made = honest.honest(hits=600), honest.honest("spt_deep", 720)
    root = honest.write(tmp_path, *made).root
    assert main(["export", "--format", kind, "--results", str(root)]) == 0
    path = Path(capsys.readouterr().out.split(":")[0])
    if kind == "parquet":
        import pandas as pd

        assert pd.read_parquet(path)["accuracy"].tolist() == [90.0, 75.0]
    else:
        assert "75.0" in path.read_text(encoding="utf-8")


def test_an_unknown_format_names_near_ones(tmp_path, capsys):
    root = honest.write(tmp_path, honest.honest()).root
    assert main(["export", "--format", "latec", "--results", str(root)]) == 2
    assert "did you mean latex?" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["gps", "sensitivity_lora", "sensitivity_adapter"])
def test_an_export_brings_the_places_that_data_chose_with_what_learned_there(
    name, folder, tmp_path, capsys
):
    record, out = run(folder, tmp_path / "results", name), tmp_path / "small.safetensors"
    assert export(folder, record, "--out", out) == 0
    outcome = json.loads(record.read_text(encoding="utf-8"))["outcome"]
    assert f"read back, {outcome['accuracy']:.2f} % on test" in capsys.readouterr().out
    tensors = {n: t for n, t in load_file(out).items() if not n.startswith("head.")}
    places = {n for n in tensors if n.endswith("places")}
    assert {n.replace("places", "deltas") for n in places} <= tensors.keys()
    assert outcome["method_params"] == sum(t.numel() for n, t in tensors.items() if n not in places)
