"""Tuning: equal trial budgets, no test data before the final runs, stored trials."""

import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.config import search_space
from bench.config.overrides import override_recipe
from bench.config.recipe import Recipe, load_recipe
from bench.config.suite import Split
from bench.execution import jobs, plan, resolution, selection, session, tuning
from bench.execution.request import FINAL_SPLITS, Request
from bench.records.description import format_point
from bench.records.schema import RATE_NAMES, Record, Trial, extract_point
from bench.records.store import Store
from bench.report import ledgers
from bench.report.boards import build_boards
from bench.report.frame import record_frame
from bench.report.record_diff import rerun_command
from bench.utils.errors import UserError
from methods import create
from methods.shared.registry import _methods
from support import paths, tiny
from support.made_up_records import make

pytestmark = pytest.mark.usefixtures("no_figures")

PLUGIN = ("--plugin", str(paths.FAULTY_METHODS))
TWO = ("--set", "grid={ lr = [1e-3, 1e-2] }")
LENGTHS = "grid_of={ vpt_deep = { prompts = [1, 2, 4] } }"
opened: list[str] | None = None  # every file, in order, while a test wants to know


def _listen(event: str, args: tuple[Any, ...]) -> None:
    if opened is not None and event in ("open", "os.rename"):
        opened.append(str(args[1 if event == "os.rename" else 0]))


sys.addaudithook(_listen)  # cannot be taken away again


@pytest.fixture
def listening() -> Iterator[list[str]]:
    """The files that are opened and renamed to, in order."""
    global opened
    opened = []
    yield opened
    opened = None


def run(cards: Path, results: Path, methods: str, *more: str) -> int:
    return main.main(tiny.command("run", cards, results, methods, "--tune", *TWO, *more))


def kept(folder: Path) -> list[Record]:
    return [record for _, record in Store(folder).read_all() if isinstance(record, Record)]


@pytest.fixture(scope="module")
def tuned(cards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a tuned run of two methods and two seeds; not to be changed."""
    results = tmp_path_factory.mktemp("tuned") / "results"
    assert run(cards, results, "linear,vpt_deep", "--seeds", "0,1", "--set", LENGTHS) == 0
    return results


# How many trials, of which points


def recipe(**changes: Any) -> Recipe:
    return override_recipe(load_recipe("unified"), changes)


WIDE = {"grid_of": {"vpt_deep": {"prompts": [5, 20, 100]}}}


def test_every_method_has_as_many_trials_whatever_its_grid() -> None:
    found = recipe(**WIDE)
    assert (
        len(search_space.all_points(found, "vpt_deep"))
        == 3 * len(search_space.all_points(found, "lora"))
        == 24
    )
    assert (
        len(search_space.sample_points(found, "vpt_deep"))
        == len(search_space.sample_points(found, "lora"))
        == 8
    )
    fewer = recipe(**WIDE, **{"tuning.trials": 3})
    assert (
        len(search_space.sample_points(fewer, "vpt_deep"))
        == len(search_space.sample_points(fewer, "lora"))
        == 3
    )


def test_a_method_whose_grid_is_the_budget_tries_all_of_it() -> None:
    found = recipe()
    assert search_space.sample_points(found, "lora") == search_space.all_points(found, "lora")


def test_a_method_with_fewer_points_than_the_budget_tries_all_of_them() -> None:
    found = recipe(**WIDE, **{"tuning.trials": 20})
    assert len(search_space.sample_points(found, "vpt_deep")) == 20
    assert search_space.sample_points(found, "lora") == search_space.all_points(found, "lora")
    counts = [search_space.method_rungs(found, name)[0].count for name in ("vpt_deep", "lora")]
    assert counts == [20, 8]


def test_the_choice_from_a_larger_grid_is_the_seeds_and_stays() -> None:
    found, again = (search_space.sample_points(recipe(**WIDE), "vpt_deep") for _ in range(2))
    assert found == again
    assert found != search_space.sample_points(recipe(**WIDE, **{"tuning.seed": 1}), "vpt_deep")
    every = search_space.all_points(recipe(**WIDE), "vpt_deep")
    assert found == [point for point in every if point in found]  # in the grid's order


def test_a_larger_budget_tries_what_a_smaller_one_did() -> None:
    three, six = (recipe(**WIDE, **{"tuning.trials": trials}) for trials in (3, 6))
    larger = search_space.sample_points(six, "vpt_deep")
    assert all(point in larger for point in search_space.sample_points(three, "vpt_deep"))


def test_a_variants_extra_fields_are_its_familys() -> None:
    axes = search_space.search_axes(
        recipe(grid_of={"spt_deep": {"prompts": [5, 20]}}), "spt_deep_kmeans"
    )
    assert axes["prompts"] == [5, 20]
    assert list(axes) == ["lr", "weight_decay", "prompts"]


def test_rates_of_a_methods_own_replace_the_grids() -> None:
    low = recipe(grid_of={"full": {"lr": [1e-5, 1e-4, 1e-3, 1e-2]}})
    assert search_space.search_axes(low, "full")["lr"] == [1e-5, 1e-4, 1e-3, 1e-2]
    full, linear = (search_space.sample_points(low, name) for name in ("full", "linear"))
    assert len(full) == len(linear) == low.num_points()
    assert {point["lr"] for point in linear} == set(low.grid["lr"])


@pytest.mark.parametrize("trials", range(2, 9))
def test_halving_keeps_within_the_epochs_of_the_plain_budget(trials: int) -> None:
    plain = recipe(**{"tuning.trials": trials})
    halved = recipe(**{"tuning.trials": trials, "tuning.halving": True})
    cost = [
        sum(r.count * r.epochs for r in search_space.halving_rungs(one)) for one in (halved, plain)
    ]
    assert cost[0] <= cost[1]
    rungs = search_space.halving_rungs(halved)
    assert [rung.epochs for rung in rungs] == [25, 50, 100]
    assert trials <= rungs[0].count <= 8
    assert [rung.count for rung in rungs] == [rungs[0].count // n or 1 for n in (1, 2, 4)]


@pytest.mark.parametrize("change", [{"tuning.trials": 1}, {"epochs": 3, "warmup_epochs": 0}])
def test_halving_what_cannot_be_halved_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="halving needs 2 trials and 4 epochs"):
        search_space.halving_rungs(recipe(**change, **{"tuning.halving": True}))


# The choice


def trial(accuracy: float | None, lr: float, decay: float = 0.0, **fields: Any) -> Trial:
    return Trial({"lr": lr, "weight_decay": decay, **fields}, 1, accuracy, 1.0, "")


@pytest.mark.parametrize(
    ("tried", "wins"),
    [
        ([trial(50.0, 1e-3), trial(51.0, 1e-2)], 1),
        ([trial(51.0, 1e-2), trial(51.0, 1e-3)], 1),
        ([trial(51.0, 1e-3, 0.1), trial(51.0, 1e-3, 0.01)], 1),
        ([trial(51.0, 1e-3, prompts=9), trial(51.0, 1e-3, prompts=5)], 0),
        ([trial(None, 1e-3), trial(0.0, 1e-2)], 1),
        ([trial(None, 1e-2), trial(None, 1e-3)], 1),
    ],
    ids=["the best", "smaller rate", "smaller decay", "first", "diverged", "all diverged"],
)
def test_ties_go_to_the_smaller_rate_then_decay_then_the_first(
    tried: list[Trial], wins: int
) -> None:
    assert search_space.best_points(tried, 1) == [tried[wins].point]


def test_a_trial_whose_last_step_diverged_is_the_worst(cards: Path, tmp_path: Path) -> None:
    """Its loss was finite: as class 0 throughout it would tie with the other."""
    grid = ("--tune", "--set", "grid={ lr = [1e-6, 1e18] }", "--set", "batch=64")
    assert main.main(tiny.command("run", cards, tmp_path, "full", *grid)) == 0
    (final,) = kept(tmp_path)
    assert final.tuned is not None
    assert [trial.accuracy is None for trial in final.tuned.trials] == [False, True]
    assert final.settings.rates["lr"] == 1e-6


# Cards and requests


@pytest.mark.parametrize(
    ("name", "tunes"), [("unified", True), ("spt2024", True), ("vpt2022", True), ("quick", False)]
)
def test_the_full_recipes_tune_by_default(name: str, tunes: bool) -> None:
    request = Request("mini", recipe=name)
    assert plan.wants_tuning(request) is tunes
    assert plan.wants_tuning(replace(request, tune=not tunes)) is not tunes


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tuning.trials": 9}, "9 trials are more than any method has points to try: 8"),
        ({"grid": {}}, "tuning by default needs a grid"),
        ({"grid": {"lr": [0.0]}}, "the grid's lr must be above 0"),
        ({"grid_of": {"lora": {"rank": []}}}, "the grid's rank needs distinct values"),
        ({"grid": {"lr": [0.1, 0.1]}}, "the grid's lr needs distinct values"),
        ({"grid_of": {"full": {"lr": [0.1, 0]}}}, "the grid's lr must be above 0"),
        ({"grid_of": {"full": {"lr": [0.1, "low"]}}}, "lr in the grid of full must be numbers"),
        (
            {"grid": {"lr": [0.1]}, "grid_of": {"full": {"weight_decay": [0.1]}}},
            "needs one for all",
        ),
    ],
)
def test_a_grid_that_cannot_be_searched_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        recipe(**changes)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--set", "lr=0.1"), "--set lr fixes what trials are to choose for vpt_deep"),
        (("--set", LENGTHS, "--set", "prompts=3"), "--set prompts fixes what trials are to choose"),
        (("--set", "grid_of={ vtp_deep = { prompts = [1] } }"), "did you mean vpt_deep"),
        (("--set", "grid_of={ vpt_deep = { promts = [1, 2] } }"), "no field 'promts'"),
        (("--set", "grid={}"), "recipe 'quick' has no grid to tune over"),
        (("--halving",), "halving needs 2 trials and 4 epochs"),
    ],
)
def test_what_cannot_be_tuned_is_refused_in_one_sentence_before_any_trial(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str], says: str
) -> None:
    assert run(cards, tmp_path / "results", "vpt_deep", *more) == 2
    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()) == 1
    assert not kept(tmp_path / "results" / "trials")


def test_tune_has_the_seed_of_the_recipe(cards: Path, tmp_path: Path, capsys) -> None:
    words = tiny.command("tune", cards, tmp_path, "linear", *TWO)
    assert main.main([*words, "--seeds", "1"]) == 2
    assert "--set tuning.seed=1" in capsys.readouterr().err


def test_a_suite_without_a_list_of_val_says_so(cards: Path, tmp_path: Path, capsys) -> None:
    for name in ("data", "small.toml"):
        (tmp_path / name).symlink_to(cards / name)
    lists = {"trainval": ["train.txt", "val.txt"], "test": ["test.txt"]}
    tiny.suite_card(tmp_path / "tiny.toml", tmp_path / "small.toml", lists=lists)
    assert run(tmp_path, tmp_path / "results", "linear") == 2
    assert "has no list of train, which trials need" in capsys.readouterr().err


# Test data


def poison(data: Path) -> None:
    """Take the test images away, and leave a list that nobody could read."""
    for task in data.iterdir():
        shutil.rmtree(task / "images" / "test")
        for path in task.glob("test.*"):
            path.write_bytes(b"\xff\x00 poison")


def as_json(folder: Path) -> None:
    """Lists as FGVC has them: classes by image, with gaps."""
    for path in folder.glob("data/*/*.txt"):
        lines = [line.rpartition(" ") for line in path.read_text(encoding="utf-8").splitlines()]
        listed = {name: 3 + 4 * int(label) for name, _, label in lines}
        path.with_suffix(".json").write_text(json.dumps(listed), encoding="utf-8")
        path.unlink()
    card = folder / "tiny.toml"
    card.write_text(card.read_text(encoding="utf-8").replace(".txt", ".json"), encoding="utf-8")


@pytest.mark.parametrize("form", ["text", "json"])
def test_trials_do_not_read_test_data_that_are_gone_and_garbled(
    tmp_path: Path, form: str, listening: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny.write_all(tmp_path)
    if form == "json":
        as_json(folder)
    poison(folder / "data")
    results = tmp_path / "results"
    listening.clear()
    assert main.main(tiny.command("tune", folder, results, "linear,vpt_deep", *TWO)) == 0
    heard = list(listening)
    assert len(kept(results / "trials")) == 4
    assert all(record.ok for record in kept(results / "trials"))
    assert any("/images/val/" in name for name in heard)
    assert not [name for name in heard if is_test(name)]
    assert run(folder, results, "linear,vpt_deep") == 2
    assert any(is_test(name) for name in listening)  # else this test would show nothing
    assert "test." in capsys.readouterr().err
    assert not kept(results)


def test_finals_that_could_not_be_run_are_refused_before_the_first_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a test set that stands in training, too: days of trials would come to nothing."""
    folder = tiny.write_all(tmp_path)
    place = folder / "data" / "light"
    with (place / "train.txt").open("a", encoding="utf-8") as file:
        file.write((place / "test.txt").read_text(encoding="utf-8"))
    assert run(folder, tmp_path / "results", "linear") == 2
    assert "E-OVERLAP light" in capsys.readouterr().err
    assert not kept(tmp_path / "results" / "trials")


def is_test(name: str) -> bool:
    path = Path(name)
    return "images/test" in name or (path.stem == "test" and path.suffix in (".txt", ".json"))


def test_no_trial_asks_for_the_test_split(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.data import splits

    read, asked = splits.load_split, set[Split]()

    def noted(suite: Any, task: Any, split: Split, *where: Any) -> Any:
        asked.add(split)
        return read(suite, task, split, *where)

    monkeypatch.setattr(splits, "load_split", noted)
    assert main.main(tiny.command("tune", cards, tmp_path, "linear", *TWO)) == 0
    assert asked == {"train", "val"}
    assert run(cards, tmp_path, "linear") == 0
    assert asked == {"train", "val", "trainval", "test"}


def test_a_tuned_run_in_one_process_is_planned_once(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request is resolved once; data are read once, those of finals again after the trials."""
    resolve, read = plan.resolve_request, selection.load_split
    resolved, splits_read = list[Request](), list[tuple[str, Split]]()

    def counted(request: Request) -> resolution.ResolvedRequest:
        resolved.append(request)
        return resolve(request)

    def noted(suite: Any, task: Any, split: Split, *where: Any) -> Any:
        splits_read.append((task.name, split))
        return read(suite, task, split, *where)

    monkeypatch.setattr(plan, "resolve_request", counted)
    monkeypatch.setattr(selection, "load_split", noted)
    assert run(cards, tmp_path, "linear", "--workers", "0") == 0
    assert len(kept(tmp_path)) + len(kept(tmp_path / "trials")) > 2
    assert len(resolved) == 1
    assert {split for _, split in splits_read} == {"train", "val", "trainval", "test"}
    assert Counter(split for _, split in splits_read) == {
        "train": 1, "val": 1, "trainval": 2, "test": 2,
    }  # fmt: skip


def test_data_that_changed_during_the_trials_name_the_final_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny.write_all(tmp_path)
    lists = folder / "data" / "light" / "test.txt"
    run_trials = session._Session.run_trials

    def changing(self: Any, searches: Any) -> Any:
        ended = run_trials(self, searches)
        lists.write_text(
            "".join(reversed(lists.read_text(encoding="utf-8").splitlines(keepends=True))),
            encoding="utf-8",
        )
        return ended

    monkeypatch.setattr(session._Session, "run_trials", changing)
    assert run(folder, tmp_path / "results", "linear", "--workers", "0") == 0
    capsys.readouterr()
    assert run(folder, tmp_path / "results", "linear", "--dry-run") == 0
    assert "0 of 1 final runs to run" in capsys.readouterr().out


# Trials and finals


def test_finals_learn_all_with_the_requests_seeds_at_what_the_trials_chose(tuned: Path) -> None:
    finals, trials = kept(tuned), kept(tuned / "trials")
    assert sorted((r.settings.method, r.settings.seed) for r in finals) == [
        ("linear", 0),
        ("linear", 1),
        ("vpt_deep", 0),
        ("vpt_deep", 1),
    ]
    assert len(trials) == 4
    for record in finals:
        assert record.ok
        assert record.tuned is not None
        [chosen] = search_space.best_points(record.tuned.trials, 1)
        assert extract_point(record.settings, chosen) == chosen
        assert record.request["at"] == {
            "point": chosen,
            "epochs": 1,
            "learnt": FINAL_SPLITS[0],
            "scored": FINAL_SPLITS[1],
        }


def test_a_finals_record_holds_every_trial_with_its_seconds(tuned: Path) -> None:
    trials = {record.cell: record for record in kept(tuned / "trials")}
    for record in kept(tuned):
        assert record.tuned is not None
        assert len(record.tuned.trials) == 2
        assert record.tuned.seed == 0
        for one in record.tuned.trials:
            own = trials[one.cell]
            assert own.outcome is not None
            assert one.accuracy == own.outcome.accuracy
            assert one.seconds == own.environment["seconds"] > own.outcome.train_seconds
            assert own.outcome.test_images == 4  # those of val
        assert record.tuned.seconds == pytest.approx(sum(t.seconds for t in record.tuned.trials))


def test_a_tuned_recipe_says_how_in_place_of_the_rates_it_searched(tuned: Path) -> None:
    own_grids = {"vpt_deep": {"vpt_deep": {"prompts": [1, 2, 4]}}, "linear": {}}
    for record in kept(tuned):
        said = record.settings.recipe
        assert said["tuning"] == {
            "trials": 2,
            "seed": 0,
            "grid": {"lr": [0.001, 0.01]},
            "grid_of": own_grids[record.settings.method],
        }
        assert "lr" not in said
        assert said["weight_decay"] == 0.01  # not in this grid
        assert search_space.tuning_inconsistency(record, tried(record)) == ""


def tried(record: Record) -> Recipe:
    changes = {k: v for k, v in record.request["changes"].items() if k != "prompts"}
    return override_recipe(load_recipe("quick"), changes)


def test_a_second_run_trains_nothing_and_another_seed_only_its_final(
    cards: Path, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tuned, tmp_path / "results")
    words = ("linear,vpt_deep", "--set", LENGTHS)
    assert run(cards, tmp_path / "results", *words, "--seeds", "0,1,2") == 0
    said = capsys.readouterr().err
    assert "trials to run" not in said
    assert "2 final runs to run, 4 done before" in said
    assert run(cards, tmp_path / "results", *words, "--seeds", "0,1,2") == 0
    assert "nothing to run: 6 of 6 final runs have a result" in capsys.readouterr().err


def test_a_method_s_grid_is_moved_without_the_others_running_again(
    cards: Path, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tuned, tmp_path / "results")
    moved = "grid_of={ vpt_deep = { prompts = [1, 2, 4] }, linear = { lr = [0.01, 0.1] } }"
    assert run(cards, tmp_path / "results", "linear,vpt_deep", "--set", moved, "--dry-run") == 0
    said = capsys.readouterr().out
    assert "1 of 4 trials to run" in said  # linear at 0.1
    assert run(cards, tmp_path / "results", "linear,vpt_deep", "--set", moved) == 0
    [board] = build_boards(record_frame(kept(tmp_path / "results")), {})
    labels = {row.label for row in [*board.rows, *board.incomplete]}
    assert {"linear", "linear[grid.lr=[0.01, 0.1]]"} <= labels


def test_progress_and_the_dry_run_tell_trials_from_finals(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    assert run(cards, results, "linear", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "to run  trial of linear on small, light, lr 0.01, weight_decay 0.01, epochs 1" in said
    assert "2 of 2 trials to run" in said
    assert "0 of 0 final runs to run; 1 more wait for their trials" in said
    assert run(cards, results, "linear", "--limit-cells", "1") == 0
    assert "1 of 1 searches have no final run: not all" in capsys.readouterr().err
    words = tiny.command("status", cards, results, "linear", "--tune", *TWO)
    assert main.main(words) == 0
    assert "trials: 1 done, 0 running, 0 failed, 1 left" in capsys.readouterr().out
    assert run(cards, results, "linear") == 0
    said = capsys.readouterr().err
    assert "1 trials to run, 1 of 2 done before" in said
    assert "[1/1] trial of linear on small, light, lr 0.01" in said
    assert "[1/1] linear on small, light, seed 0" in said
    assert main.main(words) == 0
    assert "final runs: 1 done, 0 running" in capsys.readouterr().out


def test_a_trial_that_diverges_is_an_answer_and_never_wins(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = ("--set", "grid={ lr = [1e18, 1e-3] }", "--set", "epochs=3")
    assert run(cards, tmp_path, "linear", *grid) == 0
    [record] = kept(tmp_path)
    assert record.tuned is not None
    assert [one.accuracy is None for one in record.tuned.trials] == [True, False]
    assert record.settings.rates["lr"] == 1e-3
    capsys.readouterr()
    assert run(cards, tmp_path, "linear", *grid) == 0
    assert "trials to run" not in capsys.readouterr().err


def test_a_trial_that_fails_keeps_its_final_from_running_and_no_other(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], registry: None
) -> None:
    assert run(cards, tmp_path, "linear,fault_raise", *PLUGIN) == 1
    assert [record.settings.method for record in kept(tmp_path)] == ["linear"]
    assert "1 of 2 searches have no final run: 2 trials failed" in capsys.readouterr().err
    assert run(cards, tmp_path, "fault_raise", "--only", "failed", *PLUGIN) == 1
    assert "[2/2] trial of fault_raise" in capsys.readouterr().err


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the registry, so that what a test registers is gone after it."""

    monkeypatch.setattr("methods.shared.registry._methods", dict(_methods))


def test_halving_trains_fewer_and_fewer_for_longer_and_longer(cards: Path, tmp_path: Path) -> None:
    grid = "grid={ lr = [1e-4, 1e-3, 5e-3, 1e-2] }"
    assert run(cards, tmp_path, "linear", "--halving", "--set", "epochs=4", "--set", grid) == 0
    [record] = kept(tmp_path)
    assert record.tuned is not None
    assert [trial.epochs for trial in record.tuned.trials] == [1, 1, 1, 1, 2, 2, 4]
    assert record.settings.recipe["tuning"]["halving"] == [[4, 1], [2, 2], [1, 4]]
    assert search_space.tuning_inconsistency(record, tried(record)) == ""
    first, second = record.tuned.trials[:4], record.tuned.trials[4:6]
    assert [trial.point for trial in second] == search_space.best_points(first, 2)
    assert record.settings.rates["lr"] == record.tuned.trials[-1].point["lr"]


def test_tuned_and_untuned_finals_share_no_table(cards: Path, tuned: Path, tmp_path: Path) -> None:
    shutil.copytree(tuned, tmp_path / "results")
    assert main.main(tiny.command("run", cards, tmp_path / "results", "linear", "--no-tune")) == 0
    boards = build_boards(record_frame(kept(tmp_path / "results")), {})
    assert [len(board.rows) for board in boards] == [2, 1]
    assert "tuning=2 trials, seed 0, grid" in boards[0].recipe_name
    page = (tmp_path / "results" / "leaderboard.md").read_text(encoding="utf-8")
    assert "Rates and fields chosen for each task on validation data: 2 trials, seed 0" in page


# What a worker is told


def test_a_worker_makes_the_same_trial_and_final_of_their_jobs(cards: Path, tuned: Path) -> None:
    request = Request(
        suite=str(cards / "tiny.toml"),
        methods=["vpt_deep"],
        tasks=["light"],
        changes=kept(tuned)[0].request["changes"],
        root=cards / "data",
    )
    [one] = tuning.plan_searches(request)
    look = one.state(tuning.trial_store(tuned))
    finals = tuning.plan_finals([(one, look)])
    trials = [cell for cell, _ in look.known_trials]
    assert len(trials) == 2
    for cell in (*trials, *finals):
        made = jobs.resolve_cell(jobs.parse_job(jobs.job_for(cell, "cpu").to_json()))
        assert made == cell
    assert finals[0].tuned == look.tuning_result()


def test_trials_with_prompts_from_another_task_see_its_train_alone(
    cards: Path, tmp_path: Path, listening: list[str]
) -> None:
    crossed = ("--set", "prompts_from=dark", "--set", "prompts=2")
    assert main.main(tiny.command("tune", cards, tmp_path, "spt_deep", *TWO, *crossed)) == 0
    assert any("/dark/images/train/" in name for name in listening)
    assert not [name for name in listening if is_test(name)]
    assert run(cards, tmp_path, "spt_deep", *crossed) == 0
    [record] = kept(tmp_path)
    assert record.tuned is not None
    assert record.settings.fields["prompts_from"] == "dark"


# What is shown and shared


def test_show_prints_the_trials_and_the_command_that_tunes_again(
    tuned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = kept(tuned)[0]
    assert main.main(["show", record.cell, "--results", str(tuned)]) == 0
    said = capsys.readouterr().out
    assert "2 trials with seed 0 in" in said
    assert record.tuned is not None
    for one in record.tuned.trials:
        assert f"{one.cell}  {format_point(one.point)}" in said
    assert " --tune " in rerun_command(record)


def test_a_command_says_whether_to_tune_only_where_the_recipe_would_not_do_so() -> None:
    names = {"suite": "mini", "method": "linear", "backbone": "b", "task": "digits", "seed": 0}
    plain = replace(make("linear", "digits"), request={**names, "changes": {}, "variant": None})
    unified = replace(plain, request={**plain.request, "recipe": "unified"})
    assert "tune" not in rerun_command(plain)
    assert "--no-tune" in rerun_command(unified)
    tuned = replace(unified, settings=replace(plain.settings, recipe={"tuning": {}}))
    assert "tune" not in rerun_command(tuned)


def test_the_ledger_counts_the_trials_and_their_seconds(tuned: Path) -> None:
    records = kept(tuned)
    lines = ledgers.search_costs(build_boards(record_frame(records), {}), record_frame(records))
    assert [line["method"] for line in lines] == ["linear", "vpt_deep"]
    for line, record in zip(lines, records[::2], strict=True):
        assert record.tuned is not None
        assert (line["trials a task"], line["epochs"], line["without outcome"]) == ("2", "2", "0")
        assert line["seconds a task"] == f"{record.tuned.seconds:.1f}"
        best = max(one.accuracy or 0.0 for one in record.tuned.trials)
        assert line["val"] == f"{best:.2f}"


SEARCHED = {"trials": 2, "seed": 0, "grid": {}, "grid_of": {"vpt_deep": {"prompts": [5, 9]}}}
TUNED_RECIPE = {"name": "quick", "version": 1, "batch": 32, "epochs": 10, "tuning": SEARCHED}


OWN_RATES = {**SEARCHED, "grid": {"lr": [0.1]}, "grid_of": {"vpt_deep": {"lr": [1e-3, 1e-2]}}}


def final(
    task: str, lr: float, prompts: int, seed: int = 0, search: dict[str, Any] = SEARCHED
) -> Record:
    rates, fields = {"lr": lr, "weight_decay": 0.01}, {"prompts": prompts, "deep": True}
    of = {**TUNED_RECIPE, "tuning": search}
    return make("vpt_deep", task, seed, fields=fields, rates=rates, recipe=of)


def test_points_that_differ_by_task_stay_in_one_row() -> None:
    records = [final("digits", 1e-3, 5), final("digits", 1e-3, 5, 1), final("count", 1e-2, 9)]
    [board] = build_boards(record_frame([*records, final("count", 1e-2, 9, 1)]), {})
    [row] = board.rows
    assert row.label == "vpt_deep"
    assert (row.rates, row.fields) == ({}, {"deep": True, "prompts": "chosen for each task"})


def test_a_task_at_two_points_is_two_rows() -> None:
    records = [final("digits", 1e-3, 5), final("digits", 1e-3, 9), final("count", 1e-2, 9)]
    [board] = build_boards(record_frame(records), {})
    assert len([*board.rows, *board.incomplete]) > 1


def test_own_rates_that_differ_by_task_stay_in_one_row_and_two_on_a_task_do_not() -> None:
    records = [final("digits", 1e-3, 5, 0, OWN_RATES), final("count", 1e-2, 5, 0, OWN_RATES)]
    [board] = build_boards(record_frame(records), {})
    assert [row.label for row in board.rows] == ["vpt_deep"]
    records.append(final("digits", 1e-2, 5, 0, OWN_RATES))
    [board] = build_boards(record_frame(records), {})
    assert len([*board.rows, *board.incomplete]) == 2


def test_a_final_that_does_not_follow_from_its_trials_is_refused(tuned: Path) -> None:
    record = next(r for r in kept(tuned) if r.settings.method == "vpt_deep")
    assert record.tuned is not None
    card, [first, second] = tried(record), record.tuned.trials
    loser = next(
        one
        for one in (first, second)
        if [one.point] != search_space.best_points([first, second], 1)
    )
    better = [replace(one, accuracy=100.0 if one is loser else 0.0) for one in (first, second)]
    for trials, says in (
        (better, "has rates that lost"),
        ([first], "names other trials"),
        ([first, second, second], "names other trials"),
        ([first, replace(second, epochs=2)], "names other trials"),
    ):
        odd = replace(record, tuned=replace(record.tuned, trials=trials))
        assert says in search_space.tuning_inconsistency(odd, card)
    assert "does not name the trials" in search_space.tuning_inconsistency(
        replace(record, tuned=None), card
    )


def test_a_trial_is_no_record_to_be_shared(tuned: Path, capsys) -> None:
    assert main.main(["verify", str(tuned / "trials")]) == 1
    assert "is a trial, scored on validation data" in capsys.readouterr().err


def test_a_record_of_before_there_were_trials_still_reads(tuned: Path, tmp_path: Path) -> None:
    path = Store(tuned).files()[0]
    whole = json.loads(path.read_text(encoding="utf-8"))
    del whole["tuned"]
    (tmp_path / "old.json").write_text(json.dumps(whole), encoding="utf-8")
    from bench.records import store

    assert store.read_record(tmp_path / "old.json").tuned is None


def test_every_method_of_a_cards_grid_is_registered_and_has_its_fields() -> None:
    from bench.config.loading import RECIPES_DIR, card_names

    for name in card_names(RECIPES_DIR):
        for method, axes in load_recipe(name).grid_of.items():
            for field in axes.keys() - RATE_NAMES:
                for value in axes[field]:
                    create(method, **{field: value})
