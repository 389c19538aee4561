"""The input of a backbone: from its card, its weights file or the user; in the record and pages."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor

from bench.cli import main
from bench.config import backbone
from bench.config.backbone import RANDOM_WEIGHTS, canonical_name, load_backbone
from bench.config.loading import WEIGHTS_DIR
from bench.config.overrides import override_backbone
from bench.models import backbones, pretrainings, weight_files
from bench.models.checkpoints import Checkpoint
from bench.report import ledgers, markdown, study_data
from bench.report.frame import record_frame
from bench.training import runner
from bench.utils.errors import UserError
from support import tiny
from support.made_up_records import boards, row

pytestmark = pytest.mark.usefixtures("no_figures")

MAE = "vit_base_patch16_224.mae"
HALF, IMAGENET = (0.5, 0.5, 0.5), backbone.IMAGENET_STATISTICS
Weights = dict[str, Tensor]


def weights_of(name: str = "vit_tiny_patch16_224", **options: Any) -> Weights:
    """The weights of one of timm's networks, without its head."""
    model = timm.create_model(name, num_classes=0, **options)
    return dict(model.state_dict())


def saved(weights: Weights | dict[str, Any], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(weights, path)
    return path


def seen(found: backbones.Backbone) -> tuple[Any, ...]:
    return found.input.pooling, found.input.size, found.input.mean, found.input.std


# --- values that are no numbers


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_a_weights_file_with_a_value_that_is_no_number_is_refused_by_tensor(
    tmp_path: Path, value: float
) -> None:
    weights = weights_of(**tiny.ARCHITECTURE)
    odd = weights["blocks.1.mlp.fc2.weight"].double()
    odd[3, 5] = value
    weights["blocks.1.mlp.fc2.weight"] = odd
    path = saved(weights, tmp_path / "w.pth")
    card = tiny.backbone_card(tmp_path / "card.toml", weights="w.pth")
    says = re.escape(f"{path}: 1 of the 16384 values of blocks.1.mlp.fc2.weight are not finite")
    for _ in range(2):  # what was refused once is not remembered as sound
        with pytest.raises(UserError, match=says):
            backbones.find(str(card))


def test_a_sound_file_is_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(weights_of(**tiny.ARCHITECTURE), tmp_path / "w.pth")
    card = tiny.backbone_card(tmp_path / "card.toml", weights="w.pth")
    backbones.find(str(card))
    monkeypatch.setattr(Tensor, "isfinite", None)
    backbones.find(str(card))


def test_what_is_not_the_backbone_s_may_hold_anything(tmp_path: Path) -> None:
    weights = weights_of(**tiny.ARCHITECTURE) | {"head.weight": torch.full((2, 64), torch.nan)}
    saved(weights, tmp_path / "w.pth")
    backbones.find(str(tiny.backbone_card(tmp_path / "card.toml", weights="w.pth")))


def test_a_run_from_such_a_file_ends_before_any_compute(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "run", None)
    weights = weights_of(**tiny.ARCHITECTURE)
    weights["pos_embed"][0, 2, 2] = torch.nan
    saved(weights, tmp_path / "w.pth")
    card = tiny.backbone_card(tmp_path / "card.toml", weights="w.pth")
    words = tiny.command("run", cards, tmp_path / "results", "linear", "--backbones", str(card))
    assert main.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "values of pos_embed are not finite" in line


# --- another file of a card's


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (MAE, ("avg", 224, *IMAGENET)),
        ("vit_base_patch16_224.orig_in21k", ("token", 224, HALF, HALF)),
        ("vit_base_patch16_224.mocov3", ("token", 224, *IMAGENET)),
        ("vit_mini_mae", ("avg", 32, HALF, HALF)),
    ],
)
def test_a_card_with_another_file_keeps_its_input_and_architecture(
    name: str, wanted: tuple[Any, ...]
) -> None:
    card, plain = load_backbone(f"{name}@some/w.pth"), load_backbone(name)
    assert (card.name, card.weights, card.sha256) == (f"{name}@w", "some/w.pth", "")
    assert card.architecture == plain.architecture
    assert seen(backbones.resolve(replace(card, weights=RANDOM_WEIGHTS))) == wanted


def test_a_file_of_one_s_own_card_keeps_it_too(tmp_path: Path) -> None:
    path = saved(weights_of(**tiny.ARCHITECTURE), tmp_path / "w.pth")
    card = tiny.backbone_card(tmp_path / "mine.toml", pooling="avg", mean=[0.1, 0.2, 0.3])
    found = backbones.find(f"{card}@{path}")
    assert (found.card.name, found.weights) == ("mine@w", path)
    assert seen(found) == ("avg", 32, (0.1, 0.2, 0.3), HALF)


@pytest.mark.parametrize("name", [MAE, "vit_base_patch16_224.mocov3", "vit_tiny_patch16_224"])
def test_what_is_said_to_do_offline_does_not_change_the_protocol(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    with pytest.raises(UserError, match="--backbones") as error:
        backbones.find(name)
    (advised,) = re.findall(r"--backbones (\S+)@FILE", str(error.value))
    plain, other = load_backbone(name), load_backbone(f"{advised}@f.pth")
    of_the_file = backbone.OF_THE_FILE
    assert other == replace(plain, name=f"{name}@f", weights="f.pth", **of_the_file)


def test_the_advice_for_a_card_of_one_s_own_names_that_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    own = {"timm": "vit_tiny_patch16_224", "weights": "", "architecture": {}, "input_size": 224}
    card = tiny.backbone_card(tmp_path / "mine.toml", **own)
    with pytest.raises(UserError, match=re.escape(f"--backbones {card}@FILE")):
        backbones.find(str(card))


def offline(*_: object, **__: object) -> None:
    raise ConnectionError("no network")


# --- files that can be recognised


def mae_positions(side: int, width: int) -> Tensor:
    """As MAE's code has them: half the channels for the column, half for the row."""
    rows, columns = np.divmod(np.arange(side * side), side)
    halves = []
    for place in (columns, rows):
        angles = np.outer(place, 1 / 10000 ** (np.arange(width // 4) / (width / 4)))
        halves += [np.sin(angles), np.cos(angles)]
    found = np.concatenate(halves, 1)
    return torch.tensor(np.concatenate([np.zeros((1, width)), found])[None], dtype=torch.float32)


def moco_positions(side: int, width: int) -> Tensor:
    """As MoCo v3's code has them: half the channels for the row, half for the column."""
    return mae_positions(side, width).roll(width // 2, 2)


def test_the_two_fixed_maps_of_positions_are_told_apart() -> None:
    map_ = mae_positions(4, 8)[0, 1:].unflatten(0, (4, 4))
    assert (map_[0, :, :4] == map_[1, :, :4]).all()
    assert recognised({"pos_embed": mae_positions(4, 8)}) == "mae"
    assert recognised({"pos_embed": moco_positions(4, 8)}) == "mocov3"
    assert recognised({"pos_embed": mae_positions(14, 64).half()}) == "mae"


def recognised(weights: Weights) -> str:
    """The pretraining of a file with these weights and a class token."""
    found = Checkpoint(Path("w.pth"), {"cls_token": torch.zeros(1, 1, 8), **weights})
    return pretrainings.detect_pretraining(found)[0]


DECODER = {"mask_token": torch.zeros(1, 1, 8), "decoder_pos_embed": torch.zeros(1, 5, 8)}


def prefixed(by: str, weights: Weights) -> Weights:
    return {by + name: value for name, value in weights.items()}


@pytest.fixture(scope="module")
def learned() -> Weights:
    return weights_of()


@pytest.mark.parametrize(
    ("change", "pooling", "card"),
    [
        (lambda w: {"model": w | {"pos_embed": mae_positions(14, 192)}}, "avg", MAE),
        (lambda w: {"model": w | DECODER}, "avg", MAE),
        (
            lambda w: {"state_dict": prefixed("module.base_encoder.", w)},
            "token",
            "vit_base_patch16_224.mocov3",
        ),
        (
            lambda w: prefixed("module.", w | {"pos_embed": moco_positions(14, 192)}),
            "token",
            "vit_base_patch16_224.mocov3",
        ),
    ],
    ids=["MAE's positions", "MAE's decoder", "MoCo's prefix", "MoCo's positions"],
)
def test_a_file_that_can_be_recognised_gets_its_card_s_input(
    tmp_path: Path, learned: Weights, change: Any, pooling: str, card: str
) -> None:
    path = saved(change(learned), tmp_path / "w.pth")
    found = backbones.find(f"vit_tiny_patch16_224@{path}")
    assert seen(found) == (pooling, 224, *IMAGENET)
    assert len(found.notes) == 1
    assert found.notes[0].endswith(f"its input is that of the card {card}")


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w,
        lambda w: w | {"mask_token": torch.zeros(1, 192)},  # DINOv2's files have one
        lambda w: w | {"pos_embed": mae_positions(14, 192) + 1e-3},
    ],
    ids=["learned positions, no head", "a mask token alone", "positions that moved"],
)
def test_of_a_file_that_cannot_be_recognised_what_is_in_use_is_said(
    tmp_path: Path, learned: Weights, change: Any
) -> None:
    path = saved({"model": {k: v for k, v in change(learned).items() if k != "mask_token"}},
                 tmp_path / "w.pth")  # fmt: skip
    assert recognised(change(learned)) == ""
    found = backbones.find(f"vit_tiny_patch16_224@{path}")
    assert seen(found) == ("token", 224, HALF, HALF)
    assert found.notes == ("what w.pth was pretrained by cannot be told: its input is timm's",)


def test_a_file_of_the_project_s_own_is_known_by_its_sha256() -> None:
    found = backbones.find(f"vit_tiny_patch16_224@{WEIGHTS_DIR / 'vit_micro_mae.safetensors'}")
    assert seen(found) == ("avg", 32, HALF, HALF)
    assert found.notes[0].endswith("its input is that of the card vit_micro_mae")


def test_what_the_user_says_goes_before_what_is_recognised(
    tmp_path: Path, learned: Weights
) -> None:
    path = saved(learned | {"pos_embed": mae_positions(14, 192)}, tmp_path / "w.pth")
    name = f"vit_tiny_patch16_224@{path}"
    assert seen(backbones.find(name, {"backbone.pooling": "token"}))[0] == "token"
    assert seen(backbones.find(name, {"backbone.pooling": "backbone"}))[0] == "token"
    assert seen(backbones.find(name, {"backbone.mean": [0, 0, 0]}))[2] == (0, 0, 0)


def test_positions_for_another_size_are_recognised(tmp_path: Path, learned: Weights) -> None:
    path = saved(learned | {"pos_embed": mae_positions(14, 192)}, tmp_path / "w.pth")
    found = backbones.find(f"vit_tiny_patch16_224@{path}", {"backbone.input_size": 112})
    assert seen(found) == ("avg", 112, *IMAGENET)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("vit_tiny_patch16_224.augreg_in21k", lambda w: w | {"pos_embed": mae_positions(14, 192)}),
        ("vit_base_patch16_224.mae", lambda w: {"model": prefixed("base_encoder.", w)}),
        ("vit_base_patch16_224.mocov3", lambda w: w | DECODER),
    ],
    ids=["a tag of timm's", "MAE's card", "MoCo v3's card"],
)
def test_a_card_named_after_another_pretraining_than_its_file_s_is_refused(
    tmp_path: Path, learned: Weights, name: str, change: Any
) -> None:
    path = saved(change(learned), tmp_path / "w.pth")
    with pytest.raises(UserError, match=f"as that of the card .*; {name} is of other weights"):
        backbones.find(f"{name}@{path}")


def test_a_card_of_one_s_own_may_use_a_file_otherwise_and_that_is_said(tmp_path: Path) -> None:
    weights = weights_of(**tiny.ARCHITECTURE) | {"decoder_pos_embed": torch.zeros(1, 5, 8)}
    path, statistics = saved(weights, tmp_path / "w.pth"), [list(one) for one in IMAGENET]
    inputs = {"mean": statistics[0], "std": statistics[1]}
    card = tiny.backbone_card(tmp_path / "mine.toml", weights=path.name, **inputs)
    (note,) = backbones.find(str(card)).notes
    assert note.startswith("w.pth holds decoder_pos_embed, as that of the card ")
    assert note.endswith(": pooling token instead of avg")


# --- set by the user


@pytest.fixture
def run(cards: Path, tmp_path: Path) -> Any:
    def act(*more: str, methods: str = "linear", results: str = "results") -> int:
        return main.main(tiny.command("run", cards, tmp_path / results, methods, *more))

    return act


def records(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((folder / "records").rglob("*.json"))
    ]


SET = ("--set", "backbone.pooling=avg", "--set", "backbone.mean=[0.1, 0.2, 0.3]",
       "--set", "backbone.std=[1, 1, 1]")  # fmt: skip
NAMED = "small[mean=[0.1, 0.2, 0.3], pooling=avg, std=[1.0, 1.0, 1.0]]"


def test_pooling_mean_and_std_are_set_and_the_cell_has_another_name(
    run: Any, tmp_path: Path
) -> None:
    assert run() == run(*SET) == 0
    found = {record["settings"]["backbone"]: record for record in records(tmp_path / "results")}
    assert set(found) == {"small", NAMED}
    changed = found[NAMED]["settings"]["input"]
    assert (changed["pooling"], changed["mean"], changed["std"]) == (
        "avg", [0.1, 0.2, 0.3], [1.0, 1.0, 1.0],
    )  # fmt: skip
    accuracies = [record["outcome"]["losses"] for record in found.values()]
    assert accuracies[0] != accuracies[1]


@pytest.mark.long
def test_a_worker_and_the_command_that_show_prints_run_the_same_cell(
    run: Any, cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*SET, "--workers", "1") == 0
    (record,) = records(tmp_path / "results")
    assert record["outcome"]
    capsys.readouterr()
    assert main.main(["show", record["cell"], "--results", str(tmp_path / "results")]) == 0
    said = capsys.readouterr().out
    assert f"input:  {NAMED}: pooling avg, 32 pixels, mean (0.1, 0.2, 0.3), std (1, 1, 1)" in said
    again = next(line for line in said.splitlines() if line.startswith("again:"))
    words = [*shlex.split(again.removeprefix("again:"))[3:-1], str(tmp_path / "again")]
    place = ["--data-root", str(cards / "data"), "--device", "cpu", "--workers", "0"]
    assert main.main([*words, *place]) == 0
    (twin,) = records(tmp_path / "again")
    assert twin["cell"] == record["cell"]


def test_what_a_card_has_already_is_no_change(run: Any, tmp_path: Path) -> None:
    assert run() == run("--set", "backbone.pooling=token") == 0
    assert len(records(tmp_path / "results")) == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("backbone.pooling=avgg", "no pooling 'avgg'; did you mean avg?"),
        ("backbone.pooling=3", "no pooling '3'; there are avg, backbone, token"),
        ("backbone.polling=avg", "no field 'backbone.polling'; did you mean backbone.pooling"),
        ("bakbone.pooling=avg", "no field 'bakbone.pooling'; did you mean backbone.pooling"),
        ("backbone=avg", "no field 'backbone'; did you mean backbone."),
        ("backbone.mean=0.5", "--set backbone: mean: Input should be a valid list"),
        ("backbone.mean=[0.5, 0.5]", "mean needs 3 numbers, a channel each; [0.5, 0.5] was given"),
        (
            "backbone.mean=[0.5, 0.5, true]",
            "mean.2: a number from -1e+15 to 1e+15 was expected; True",
        ),
        ("backbone.mean=[]", "--set backbone.mean needs a value; [] was given"),
        ("backbone.std=[0.5, 0.5, 0]", "std must be above 0 in each channel; [0.5, 0.5, 0.0]"),
        ("backbone.std=[0.5, 0.5, -1]", "std must be above 0 in each channel"),
        (
            "backbone.input_size=-32",
            "input_size: a whole number from 0 to 10,000 was expected; -32 was",
        ),
        ("backbone.input_size=0", "--set backbone.input_size needs a value; 0 was given"),
        (
            "backbone.input_size=wide",
            "--set backbone: input_size: a whole number from 0 to 10,000 was expected",
        ),
        ("backbone.weights=w.pth", "no field 'backbone.weights'; "),
    ],
)
def test_what_no_backbone_can_have_is_refused_in_a_sentence(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    change: str, says: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(runner, "run", None)
    assert run("--set", change) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"std": [0.5, 0.0, 0.5]}, "std must be above 0 in each channel; "),
        ({"mean": [0.5]}, "mean needs 3 numbers, a channel each; [0.5] was given"),
    ],
)
def test_a_card_is_held_to_the_same(tmp_path: Path, wrong: dict[str, Any], says: str) -> None:
    card = tiny.backbone_card(tmp_path / "card.toml", **wrong)
    with pytest.raises(UserError, match=re.escape(says)):
        load_backbone(str(card))


# --- said


def test_a_dry_run_and_a_run_say_what_each_backbone_sees(
    run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "backbone small: pooling token, 32 pixels, mean (0.5, 0.5, 0.5), std (0.5, 0.5, 0.5)"
    assert run("--dry-run") == 0
    assert line in capsys.readouterr().out
    assert run("--set", "normalisation=imagenet") == 0
    said = capsys.readouterr().err
    assert "backbone small: pooling token, 32 pixels, mean (0.485, 0.456, 0.406)" in said
    assert "std (0.229, 0.224, 0.225) (the recipe's)" in said
    assert run("--dry-run", "--tune", "--set", "grid={ lr = [1e-3, 1e-2] }") == 0
    assert line in capsys.readouterr().out


def test_a_pooling_that_is_timm_s_own_is_named(tmp_path: Path) -> None:
    card = load_backbone("vit_base_patch16_siglip_gap_224")
    assert backbones.resolve(replace(card, weights=RANDOM_WEIGHTS)).input.pooling == "avg"


def test_the_footer_of_a_table_says_what_its_backbone_sees(run: Any, tmp_path: Path) -> None:
    assert run(*SET) == 0
    board = (tmp_path / "results" / "leaderboard.md").read_text(encoding="utf-8")
    assert (
        f"backbone {NAMED} (pooling avg, 32 pixels, mean (0.1, 0.2, 0.3), std (1, 1, 1))" in board
    )


# --- names that stand for several


def refused(run: Any, capsys: pytest.CaptureFixture[str], *names: str) -> str:
    assert run("--backbones", ",".join(names)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_two_backbones_of_one_name_are_refused_in_one_request(
    run: Any, tmp_path: Path, cards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = weights_of(**tiny.ARCHITECTURE)
    first = saved(weights, tmp_path / "a" / "w.pth")
    second = saved({n: v + 0.1 for n, v in weights.items()}, tmp_path / "b" / "w.pt")
    names = [f"{cards / 'small.toml'}@{path}" for path in (first, second)]
    assert f"{names[0]} and {names[1]} would both be called small@w" in refused(run, capsys, *names)
    other = tiny.backbone_card(tmp_path / "small.toml", pooling="avg")
    names = [str(cards / "small.toml"), str(other)]
    assert "would both be called small in records and tables" in refused(run, capsys, *names)


def test_a_file_under_two_paths_is_one_backbone(run: Any, tmp_path: Path, cards: Path) -> None:
    for name in ("a", "b"):
        saved(weights_of(**tiny.ARCHITECTURE), tmp_path / name / "w.pth")
    (tmp_path / "b" / "w.pth").write_bytes((tmp_path / "a" / "w.pth").read_bytes())
    names = [f"{cards / 'small.toml'}@{tmp_path / name / 'w.pth'}" for name in ("a", "b")]
    assert run("--backbones", ",".join(names)) == 0
    assert len(records(tmp_path / "results")) == 1


def test_a_state_dict_that_is_chosen_is_another_backbone_and_is_recorded(
    run: Any, tmp_path: Path, cards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = weights_of(**tiny.ARCHITECTURE)
    teacher = {n: v + 0.1 for n, v in weights.items()}
    path = saved({"student": weights, "teacher": teacher}, tmp_path / "w.pth")
    name = f"{cards / 'small.toml'}@{path}"
    assert run("--backbones", name) == 0
    assert "w.pth holds teacher and student: teacher is taken" in capsys.readouterr().err
    assert run("--backbones", name, "--set", "backbone.state_dict=student") == 0
    found = {record["settings"]["backbone"]: record for record in records(tmp_path / "results")}
    assert set(found) == {"small@w", "small@w[state_dict=student]"}
    chosen = found["small@w[state_dict=student]"]
    assert chosen["settings"]["input"]["state_dict"] == "student"
    assert "state_dict" not in found["small@w"]["settings"]["input"]
    assert len({record["outcome"]["losses"][0] for record in found.values()}) == 2
    assert run("--backbones", name, "--set", "backbone.state_dict=techer") == 2
    assert "no state dict of w.pth 'techer'; did you mean teacher?" in capsys.readouterr().err


def test_two_files_of_one_stem_share_no_table(cards: Path, tmp_path: Path) -> None:
    results, names = tmp_path / "results", []
    for folder, shift in (("a", 0.0), ("b", 0.1)):
        weights = weights_of(**tiny.ARCHITECTURE)
        weights["cls_token"] += shift
        path = saved(weights, tmp_path / folder / "w.pth")
        names.append(f"{cards / 'small.toml'}@{path}")
        words = tiny.command("run", cards, results, "linear", "--backbones", names[-1])
        assert main.main(words) == 0
    assert [record["settings"]["backbone"] for record in records(results)] == ["small@w"] * 2
    titles = re.findall(
        r"^## (.*)", (results / "leaderboard.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(titles) == len(set(titles)) == 2
    assert all("small@w" in title and "weights=" in title for title in titles)


WIDE = {"input": {"size": 64, "pooling": "token"}}


def test_records_that_differ_in_input_alone_share_neither_table_nor_label() -> None:
    found = row("bias", [60.0] * 5) + row("bias", [50.0] * 5, **WIDE)
    assert len({board.name for board in boards(found)}) == 2
    assert sorted(markdown.backbone_labels(found).values()) == [
        "vit_mini_mae[size=32]",
        "vit_mini_mae[size=64]",
    ]


def test_the_ledger_of_initialisation_does_not_average_two_inputs() -> None:
    made = [
        record
        for how in ({}, WIDE)
        for share in (0.5, 1.0)
        for record in row("spt_deep", [60.0], fields={"share": share, "prompts": 20}, **how)
    ]
    lines = ledgers.init_seconds_by_share(record_frame(made))
    assert [line["backbone"] for line in lines] == [
        "vit_mini_mae[size=32]",
        "vit_mini_mae[size=64]",
    ]


def test_a_study_mixes_no_tasks_of_two_inputs() -> None:
    plain = row("bias", [60.0] * 3)
    other = row("bias", [50.0] * 5, **WIDE)[2:]
    extra = row("bias", [50.0] * 5, seed=1, **WIDE)[3:]
    kept = study_data.comparable_records(record_frame([*plain, *other, *extra]))
    assert {record.settings.input["size"] for record in kept["record"]} == {64}


def test_a_backbone_s_change_gives_it_a_name_of_its_own() -> None:
    card = load_backbone("vit_mini_mae")
    assert (
        override_backbone(card, {"backbone.pooling": "token"}).name == "vit_mini_mae[pooling=token]"
    )
    assert override_backbone(card, {"backbone.pooling": "avg", "rank": 3}) is card


# --- names that timm has changed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("vit_base_patch16_224_in21k", "vit_base_patch16_224.augreg_in21k"),
        ("vit_small_patch16_224_dino", "vit_small_patch16_224.dino"),
        ("vit_base_patch16_224_sam", "vit_base_patch16_224.sam"),
        ("vit_base_patch16_224_miil_in21k", "vit_base_patch16_224_miil.in21k"),
        ("vit_deit_small_patch16_224", "deit_small_patch16_224"),
        ("vit_base_patch16_224_in21k@a/w.pth", "vit_base_patch16_224.augreg_in21k@a/w.pth"),
        (MAE, MAE),
        ("mine.toml", "mine.toml"),
        ("mine.toml@vit_base_patch16_224_in21k", "mine.toml@vit_base_patch16_224_in21k"),
    ],
)
def test_an_old_name_stands_for_the_new_one(old: str, new: str) -> None:
    assert canonical_name(old) == new
    if not new.startswith("mine"):
        assert load_backbone(old) == load_backbone(new)


def test_an_old_name_with_a_tag_is_refused_with_the_new_one() -> None:
    says = "timm has renamed vit_base_patch16_224_in21k to vit_base_patch16_224.augreg_in21k"
    with pytest.raises(UserError, match=re.escape(says)):
        load_backbone("vit_base_patch16_224_in21k.orig")


def test_old_and_new_name_are_one_backbone_and_the_change_is_said(
    cards: Path, tmp_path: Path, learned: Weights, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(learned, tmp_path / "w.pth")
    both = f"vit_tiny_patch16_224_in21k@{path},vit_tiny_patch16_224.augreg_in21k@{path}"
    words = tiny.command("run", cards, tmp_path / "results", "linear", "--backbones", both)
    assert main.main([*words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "1 of 1 cells to run" in said
    assert "linear on vit_tiny_patch16_224.augreg_in21k@w, light" in said


def test_the_change_of_a_name_is_said(
    cards: Path, tmp_path: Path, learned: Weights, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(learned, tmp_path / "w.pth")
    old = f"vit_tiny_patch16_224_in21k@{path}"
    words = tiny.command("run", cards, tmp_path / "results", "linear", "--backbones", old)
    assert main.main([*words, "--dry-run"]) == 0
    new = f"vit_tiny_patch16_224.augreg_in21k@{path}"
    assert f"timm has renamed {old} to {new}" in capsys.readouterr().out


def test_a_card_may_name_timm_s_model_by_its_old_name(tmp_path: Path) -> None:
    old = {"timm": "vit_tiny_patch16_224_in21k", "input_size": 224, "architecture": {"depth": 1}}
    found = backbones.find(str(tiny.backbone_card(tmp_path / "card.toml", **old)))
    assert found.card.timm == "vit_tiny_patch16_224.augreg_in21k"


@pytest.fixture(autouse=True)
def _forget() -> None:
    """Forget the files that an earlier test found sound."""
    weight_files._known_finite.clear()
