"""Cells whose prompts start from another task's images (`prompts_from`)."""

import json

import pytest
import torch

import methods
from bench.cli import main
from bench.execution import jobs, plan
from bench.execution.plan import Request
from bench.models import small_models
from bench.records.schema import Settings
from bench.training import runner
from methods.shared.prompts import prompts_of
from support import tiny

pytestmark = pytest.mark.usefixtures("no_figures")


def cells(cards, names: str, tasks: tuple[str, ...] = ("light",), **changes):
    """The planned cells."""
    return plan.plan_cells(
        Request(
            suite=str(cards / "tiny.toml"),
            methods=names.split(","),
            tasks=list(tasks),
            changes=changes,
            root=cards / "data",
        )
    )


def prompts_at_the_start(cell):
    """The first block's prompts of a cell, as training would find them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "_fit", lambda *_: [])
        done = runner.train(cell, torch.device("cpu"), lambda *_: None)
    return prompts_of(done.model)[0]


def test_prompts_are_those_that_the_other_task_would_start_from(cards):
    (crossed,) = cells(cards, "spt_deep_mean", prompts_from="dark", prompts=2)
    (plain,) = cells(cards, "spt_deep_mean", prompts=2)
    (of_dark,) = cells(cards, "spt_deep_mean", ("dark",), prompts=2)
    found = prompts_at_the_start(crossed)
    assert torch.equal(found, prompts_at_the_start(of_dark))
    assert not torch.equal(found, prompts_at_the_start(plain))


def test_a_crossed_cell_has_a_name_of_its_own_which_says_the_source_and_its_data(cards):
    (crossed,), (plain,) = (cells(cards, "spt_deep", **c) for c in ({"prompts_from": "dark"}, {}))
    (of_dark,) = cells(cards, "spt_deep", ("dark",))
    assert crossed.settings.digest() != plain.settings.digest()
    assert crossed.settings.fields == {**plain.settings.fields, "prompts_from": "dark"}
    assert crossed.settings.split == plain.settings.split
    assert crossed.settings.start_split == of_dark.settings.split.rpartition("-")[0]


def test_a_cell_whose_source_is_its_own_task_is_the_ordinary_cell(cards):
    both = cells(cards, "spt_deep", ("light", "dark"), prompts_from="dark")
    plain = cells(cards, "spt_deep", ("light", "dark"))
    same = {c.settings.task: c.request == p.request for c, p in zip(both, plain, strict=True)}
    assert same == {"light": False, "dark": True}
    assert both[1].settings == plain[1].settings


def test_a_method_that_starts_from_no_image_is_left_as_it_is_beside_one_that_does(cards):
    crossed = {c.settings.method: c for c in cells(cards, "bias,spt_deep", prompts_from="dark")}
    (plain,) = cells(cards, "bias")
    assert crossed["bias"].settings == plain.settings
    assert "prompts_from" in crossed["spt_deep"].settings.fields


def test_a_crossed_cell_travels_to_a_worker(cards):
    (crossed,) = cells(cards, "spt_deep", prompts_from="dark")
    job = jobs.parse_job(jobs.job_for(crossed, "cpu").to_json())
    assert jobs.resolve_cell(job).settings == crossed.settings
    assert jobs.resolve_cell(job).prompt_task == crossed.prompt_task


def test_settings_without_a_source_are_called_as_before_there_was_any(cards):
    (plain,) = cells(cards, "spt_deep")
    before = {k: v for k, v in vars(plain.settings).items() if k != "start_split"}
    assert Settings(**before).digest() == plain.settings.digest()
    assert Settings(**before, start_split="x").digest() != plain.settings.digest()


def test_a_run_records_the_source_and_the_table_shows_it(cards, tmp_path, capsys):
    def run(*more: str) -> int:
        return main.main(tiny.command("run", cards, tmp_path, "spt_deep", *more))

    assert run() == run("--set", "prompts_from=dark") == 0
    assert "spt_deep with prompts from dark on small, light, seed 0" in capsys.readouterr().err
    found = [
        json.loads(p.read_text(encoding="utf-8")) for p in (tmp_path / "records").rglob("*.json")
    ]
    sources = {r["settings"]["fields"].get("prompts_from"): r for r in found}
    assert set(sources) == {None, "dark"}
    assert ["start_split" in sources[source]["settings"] for source in (None, "dark")] == [
        False,
        True,
    ]
    assert sources["dark"]["request"]["changes"]["prompts_from"] == "dark"
    board = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert "| spt_deep " in board
    assert "spt_deep[prompts_from=dark]" in board


@pytest.mark.parametrize(
    ("names", "more", "says"),
    [
        ("spt_deep", "prompts_from=drak", "no task of suite 'tiny' 'drak'; did you mean dark"),
        ("linear,bias", "prompts_from=dark", "starts from images, such as spt_deep; none of "),
        ("e2vpt_pruned", "prompts_from=dark", "none of e2vpt_pruned does"),
        ("spt_deep", "prompt_from=dark", "no field 'prompt_from'; did you mean prompts_from"),
    ],
)
def test_a_source_that_cannot_be_is_refused_in_one_sentence(
    cards, tmp_path, capsys, monkeypatch, names, more, says
):
    monkeypatch.setattr(runner, "run", None)
    assert main.main(tiny.command("run", cards, tmp_path, names, "--set", more)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert says in lines[0]


def test_the_source_s_data_must_be_there(cards, tmp_path, capsys):
    tiny.write_task(tmp_path / "data" / "light")
    words = tiny.command("run", cards, tmp_path, "spt_deep", "--set", "prompts_from=dark")
    assert main.main([*words, "--data-root", str(tmp_path / "data")]) == 2
    assert "no data for 1 of 2 tasks (dark)" in capsys.readouterr().err


class OtherLabels(small_models.FakeBatches):
    """The same images under other labels."""

    def __init__(self):
        super().__init__()
        self.batches = [(images, (labels + 1) % 5) for images, labels in self.batches]


@pytest.mark.parametrize(
    "name", [n for n in methods.names() if methods.create(n).starts_from_images]
)
def test_what_starts_from_images_never_reads_their_labels(name):
    starts = []
    for shown in (small_models.FakeBatches(), OtherLabels()):
        model = small_models.small_backbone()
        torch.manual_seed(0)
        methods.create(name).prepare(model, shown)
        starts.append(torch.cat(prompts_of(model)))
    assert torch.equal(*starts)
