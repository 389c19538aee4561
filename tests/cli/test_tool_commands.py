"""The commands beside a run: export, tune, check-method, plug-ins, the ledger of parameters."""

import json
from dataclasses import dataclass

import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import nn

import methods
from bench.cli.main import main
from bench.models import method_checks
from bench.performance import parameter_counts
from methods.shared.backbone import with_weights
from methods.shared.merge import merge_adapters
from methods.shared.registry import _methods
from support.tiny import ARCHITECTURE, command, write_all

# A strict list: a new method stands in it, or is refused.
MERGEABLE = {
    "full", "linear", "bias", "ln", "lora", "lora_noah", "lora_qv", "ssf", "fact_tt", "fact_tk",
    "repadapter", "difffit", "partial1",
    *(f"peft_{name}" for name in (
        "adalora", "adamss", "beft", "boft", "c3a", "deft", "delora", "dora", "fourierft", "glora",
        "gralora", "hira", "hra", "ia3", "ln", "loha", "lokr", "lora", "miss", "oft", "olora",
        "peanut", "pissa", "psoft", "pvera", "randlora", "road", "rslora", "shira", "supertuning",
        "tinylora", "unilora", "vblora", "vera", "waveft",
    )),
}  # fmt: skip
# Of scores that reach some 30. Float64 rounds at 1e-15 of a value; these two compute in float32
# whatever the model's precision, which rounds at 1e-7 of it.
SINGLE = {"peft_c3a": 1e-5, "peft_deft": 1e-5}


@pytest.fixture
def registry(monkeypatch):
    """A copy of the registry, so that what a test registers is gone after it."""
    monkeypatch.setattr("methods.shared.registry._methods", dict(_methods))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("tiny"))


def test_every_method_that_is_said_to_merge_is_registered():
    assert set(methods.names()) >= MERGEABLE


@pytest.mark.parametrize("name", sorted(MERGEABLE))
def test_a_merged_model_is_timm_s_own_and_scores_the_same(name):
    method = methods.create(name)
    with method_checks.double_precision():
        bare = method_checks.small_backbone().double()
        model = method_checks.train_briefly(method, method_checks.prepare_copy(method, bare))
        images = method_checks.FakeBatches(torch.float64).batches[0][0]
        with torch.no_grad():
            before = model(images)
            if name not in ("full", "linear"):  # and training had made it another
                assert (before - bare(images)).abs().max() > 0.1
            merge_adapters(model)
            assert shapes(model) == shapes(bare)
            assert {type(m).__module__.split(".")[0] for m in model.modules()} <= {"torch", "timm"}
            torch.testing.assert_close(model(images), before, rtol=0, atol=SINGLE.get(name, 1e-9))


def shapes(model):
    return {name: value.shape for name, value in model.state_dict().items()}


@pytest.mark.parametrize("name", sorted(set(methods.names()) - MERGEABLE))
def test_every_other_method_cannot_be_merged_and_its_model_is_left_as_it_is(name):
    model = method_checks.prepare_copy(methods.create(name), method_checks.small_backbone())
    images = method_checks.FakeBatches().batches[0][0]
    with torch.no_grad():
        before = [str(model), model(images)]
        with pytest.raises(methods.Unsupported, match=r"cannot (be folded|fold)"):
            merge_adapters(model)
        assert str(model) == before[0]
        assert torch.equal(model(images), before[1])


class Doubled(nn.Linear):
    """A layer that says that it can be folded, and is wrong."""

    def forward(self, x):
        return 2 * super().forward(x)

    def merged(self):
        return with_weights(nn.Linear(self.in_features, self.out_features), self.weight, self.bias)


def test_a_layer_that_folds_into_another_function_is_found_out():
    model = method_checks.small_backbone()
    old = model.blocks[1].mlp.fc2
    model.blocks[1].mlp.fc2 = Doubled(old.in_features, old.out_features)
    before = str(model)
    with pytest.raises(methods.Unsupported, match="the folded model scores otherwise, by"):
        merge_adapters(model)
    assert str(model) == before


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
    accuracy = json.loads(record.read_text())["outcome"]["accuracy"]
    assert f"read back, {accuracy:.2f} % on test" in said
    assert f"the record says {accuracy:.2f} %" in said
    tensors = load_file(out)
    added = sum(t.numel() for n, t in tensors.items() if not n.startswith("head."))
    width, depth = ARCHITECTURE["embed_dim"], ARCHITECTURE["depth"]
    assert added == (depth * 8 * 4 * width if name == "lora" else depth * 20 * width)


def test_an_export_of_projected_prompts_holds_the_shared_map_once(folder, tmp_path, capsys):
    words = command("run", folder, tmp_path, "vpt_deep", "--set", "projection=4")
    assert main(words) == 0
    (record,) = tmp_path.rglob("vpt_deep-seed0-*.json")
    assert export(folder, record, "--out", tmp_path / "s.safetensors") == 0
    accuracy = json.loads(record.read_text())["outcome"]["accuracy"]
    assert f"read back, {accuracy:.2f} % on test" in capsys.readouterr().out
    names = load_file(tmp_path / "s.safetensors")
    assert sum("project.weight" in name for name in names) == 1


def test_a_merged_export_loads_into_plain_timm(folder, tmp_path, capsys):
    record = run(folder, tmp_path / "results", "lora")
    out = tmp_path / "merged.safetensors"
    assert export(folder, record, "--out", tmp_path / "s.safetensors", "--merged", out) == 0
    said = capsys.readouterr().out
    accuracy = json.loads(record.read_text())["outcome"]["accuracy"]
    assert f"merged.safetensors: {out.stat().st_size:,} bytes; read back, {accuracy:.2f} %" in said
    plain = timm.create_model("vit_tiny_patch16_224", num_classes=2, **ARCHITECTURE)
    plain.load_state_dict(load_file(out))


@pytest.mark.parametrize("name", ["peft_lora", "peft_dora", "peft_fourierft", "ssf"])
def test_a_merged_export_scores_as_the_record_says(name, folder, tmp_path, capsys):
    record = run(folder, tmp_path / "results", name)
    out = tmp_path / "new" / "m.safetensors"
    assert export(folder, record, "--out", tmp_path / "s.safetensors", "--merged", out) == 0
    accuracy = json.loads(record.read_text())["outcome"]["accuracy"]
    said = capsys.readouterr().out
    assert f"m.safetensors: {out.stat().st_size:,} bytes; read back, {accuracy:.2f} %" in said


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


def test_tuning_never_reads_test_data_and_keeps_every_trial(folder, tmp_path, capsys, monkeypatch):
    from bench.data import splits

    def poisoned(suite, task, split, root, variant=None, read=splits.load_split):
        found = read(suite, task, split, root)
        if split == "test":
            found.labels.fill_(-1)
        return found

    monkeypatch.setattr(splits, "load_split", poisoned)
    words = command("tune", folder, tmp_path, "linear,lora")
    assert main([*words, "--set", "grid={ lr = [1e-3, 1e-2] }"]) == 0
    lines = (tmp_path / "tuning.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 2
    accuracies = [float(line.rsplit(",", 1)[1]) for line in lines[1:]]
    assert max(accuracies) > 0  # against labels of -1 it would be none
    assert "lora: lr" in capsys.readouterr().out


def test_check_method_names_each_promise(capsys):
    assert main(["check-method", "linear"]) == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()) == len(method_checks.CHECKS)
    assert "kept   The head learns." in said


def test_check_method_shows_what_a_method_breaks(capsys):
    assert main(["check-method", "adapter_vpt2022"]) == 1
    assert "broken Frozen weights stay and every trainable one moves" in capsys.readouterr().out


def test_check_method_names_near_ones(capsys):
    assert main(["check-method", "lroa"]) == 2
    assert "did you mean" in capsys.readouterr().err


PLUGIN = '''
"""A method of a user's own."""
from dataclasses import dataclass
from methods import Method, register

@dataclass(frozen=True)
class Norms(Method):
    blocks: int = 1

    def attach(self, model):
        for block in model.blocks[-self.blocks:]:
            block.norm1.requires_grad_(True)

register("{name}", Norms())
'''


def test_a_plug_in_s_method_is_run_and_checked_like_any(registry, folder, tmp_path, capsys):
    file = tmp_path / "norms.py"
    file.write_text(PLUGIN.format(name="my_norms"))
    assert main(["check-method", "my_norms", "--plugin", str(file)]) == 0


def test_a_plug_in_s_method_gets_a_record(registry, folder, tmp_path):
    file = tmp_path / "norms.py"
    file.write_text(PLUGIN.format(name="other_norms"))
    words = command("run", folder, tmp_path / "results", "other_norms", "--plugin", str(file))
    assert main(words) == 0
    assert list((tmp_path / "results").rglob("other_norms-seed0-*.json"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("def broken(:\n", "SyntaxError"),
        (PLUGIN.format(name="linear"), "'linear' is taken"),
        ("x = 1\n", "registers no method"),
        (None, "is not a Python file that is there"),
    ],
)
def test_a_broken_plug_in_is_named_and_the_rest_works(
    content, sentence, registry, tmp_path, capsys
):
    file = tmp_path / "broken.py"
    if content:
        file.write_text(content)
    assert main(["check-method", "linear", "--plugin", str(file)]) == 0
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(parameter_counts.FORMULAS))
def test_counted_is_the_closed_form(name):
    for classes in (2, 100):
        want = parameter_counts.FORMULAS[name].count(classes) + 769 * classes
        assert parameter_counts.count_parameters(name, classes) == want


CANNOT_MATCH = {"mp", "snf", "vpt_deep", "e2vpt", "lora"}  # bench/papers/parameters.csv says why


@pytest.mark.parametrize("row", parameter_counts.read_published(), ids=lambda row: row["method"])
def test_the_papers_columns_are_reproduced(row):
    for suite in ("fgvc", "vtab1k"):
        if row[suite]:
            close = (
                abs(parameter_counts.mean_millions(row["method"], suite) - float(row[suite]))
                <= 0.01
            )
            assert close or row["method"] in CANNOT_MATCH
    assert row["remark"] or row["method"] not in CANNOT_MATCH


def test_a_tuner_that_cannot_work_is_refused_with_the_reason(folder, tmp_path, capsys):
    assert main(command("run", folder, tmp_path, "peft_prefix_tuning")) == 2
    assert "needs the configuration of a language model" in capsys.readouterr().err


def test_a_method_s_footnote_goes_into_its_record_and_below_its_table(folder, tmp_path):
    assert main(command("run", folder, tmp_path, "adapter_vpt2022")) == 0
    (record,) = tmp_path.rglob("adapter_vpt2022-seed0-*.json")
    assert "9,216 of 230,544" in json.loads(record.read_text())["remark"]
    assert "9,216 of 230,544" in (tmp_path / "leaderboard.md").read_text()


def test_only_the_upper_biases_of_the_released_adapter_learn():
    model = method_checks.prepare_copy(
        methods.create("adapter_vpt2022"), method_checks.small_backbone()
    )
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    method_checks.train_briefly(methods.create("adapter_vpt2022"), model)
    moved = [n for n, p in model.named_parameters() if not torch.equal(p, before[n])]
    assert len([n for n in moved if not n.startswith("head")]) == 3  # one a block
    assert all(n.endswith("bias") for n in moved if not n.startswith("head"))
