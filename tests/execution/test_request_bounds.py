"""Requests and options out of bounds, from whatever door: refused in a sentence, and at once."""

from pathlib import Path
from typing import Any

import pytest

import bench
from bench.cli.main import main
from bench.execution import jobs, plan
from bench.execution.request import Request, RunOptions, SearchPoint, request_from_json
from bench.training import runner
from bench.utils.errors import UserError
from support import tiny

LONG = "9" * 5000  # `int` refuses it with an error of its own


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("seeds", [[-1], [2**32], [True], ["0"], [0.0], [10**5000], 0, "0"]),
        ("suite", ["", "-x", "a\x00", "a\nb", 3, "x" * 5000, "\udcff"]),
        ("methods", ["lora", [3], [""], ["a\nb"], None]),
        ("backbones", [["a\x00"], [""], ["-x"], [None]]),
        ("recipe", ["", 3]),
        ("plugins", [["a\nb.py"], [3]]),
        ("changes", [{"lr": float("nan")}, {"lr": 10**400}, {3: 1}, {"a": "b\x00"}, {"a": {1, 2}},
                     {"a": [[[[[[1]]]]]]}, {"a": "x" * 2000}, []]),
        ("root", ["a\nb", "a\x00", 3]),
        ("tune", [3, "maybe"]),
        ("at", [{"point": {}, "epochs": 1, "learnt": "train", "scored": "val"}]),
    ],
)  # fmt: skip
def test_a_request_from_python_is_held_to_its_types(field: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(UserError, match="search point" if field == "at" else field) as error:
            bench.Request(**{field: value})
        assert len(str(error.value).splitlines()) == 1
        assert len(str(error.value)) < 500


def test_a_request_takes_what_it_always_took() -> None:
    assert Request(seeds=range(2), root="data", backbones=("a", "b")) == Request(  # type: ignore[arg-type]
        seeds=[0, 1], root=Path("data"), backbones=["a", "b"]
    )


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("workers", [-1, 10**9, True, "1", 1.0]),
        ("per_gpu", [0, 10**6]),
        ("processes", [0, 10**6]),
        ("trials_per_pass", [0, -1, 10**6, True, "2"]),
        ("timeout", [0, -1, float("nan"), float("inf"), 1e300, "1"]),
        ("retries", [-1, 10**9]),
        ("limit_cells", [0, -1, 10**18]),
        ("executor", ["", "locl", None]),
        ("only", ["done"]),
        ("slurm", [{"time": 3}, []]),
    ],
)
def test_options_of_a_run_are_held_to_their_bounds(field: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(UserError, match=f"the options of the run: {field}: "):
            bench.RunOptions(**{field: value})
    assert RunOptions(workers=0, timeout=1).timeout == 1.0


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--seeds", ["-1", "00,٣", "²", "1.0", "0x1", "1_0", "4294967296", LONG, f"0,{LONG}", ","]),
        ("--workers", ["-1", "٣", "1.0", LONG, "1e3", "", "1000000000"]),
        ("--limit-cells", ["0", LONG, "٣"]),
        ("--trials-per-pass", ["0", "-1", "1.5", "", LONG, "٣"]),
        ("--timeout", ["0", "-1", "nan", "1e400", "1e300", "٣", LONG, ""]),
        ("--checkpoint-every", ["-1", "nan", "inf", "1e300", "٣", LONG, "", "x"]),
        ("--per-gpu", ["0", "1000000", LONG]),
        ("--processes", ["0", "1000000", LONG]),
        ("--retry", ["-1", LONG, "1000000000"]),
        ("--set", ["lr", "=1", f"lr={LONG}", "lr=nan", "lr=1e400", "lr=2020-01-01",
                   "lr=" + "[" * 999, "title='a\x00'",
                   "epochs=1000000000000", "epochs=true", "batch=0"]),
        ("--slurm", ["", "x", "=x"]),
    ],
)  # fmt: skip
def test_a_number_on_the_command_line_is_held_to_its_bounds(
    cards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    values: list[str],
) -> None:
    monkeypatch.setattr(runner, "run", None)
    for value in values:
        words = tiny.command("run", cards, tmp_path, "linear", f"{option}={value}")
        assert status_of(words) == 2, value
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("bench: ")
        assert len(line) < 500


def status_of(words: list[str]) -> int:
    try:
        return main(words)
    except SystemExit as end:
        return int(end.code or 0)


def test_other_commands_numbers_are_held_to_bounds_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrain = ["pretrain", "mae", "--images", str(tmp_path), "--out", str(tmp_path / "x")]
    cost = ["cost", "--methods", "linear", "--results", str(tmp_path)]
    for words in (
        [*pretrain, "--seed=-1"],
        [*pretrain, f"--epochs={LONG}"],
        [*pretrain, "--epochs=0"],
        [*cost, "--batch=0"],
        [*cost, f"--rounds={LONG}"],
    ):
        assert status_of(words) == 2
        assert "a whole number from" in capsys.readouterr().err


def test_of_one_field_set_twice_the_last_counts(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = tiny.command("run", cards, tmp_path, "linear", "--dry-run", "--set", "lr=-1")
    assert main([*words, "--set", "lr=0.1"]) == 0
    assert main([*words, "--set", "lr=0.1", "--set", "lr=-1"]) == 2


# A cell's names, as a job or a record has them


def names_of_a_cell(cards: Path) -> dict[str, Any]:
    [cell] = plan.plan_cells(
        Request(
            suite=str(cards / "tiny.toml"),
            methods=["linear"],
            backbones=[str(cards / "small.toml")],
            tasks=["light"],
            seeds=[0],
            root=cards / "data",
        )
    )
    return cell.request


POINT = {"lr": 0.1, "weight_decay": 0.0}
AT = {"point": POINT, "epochs": 1, "learnt": "train", "scored": "val"}


@pytest.mark.sample(8)
@pytest.mark.parametrize(
    "changed",
    [
        *({"seed": seed} for seed in (-1, True, "0", 2**32, None)),
        *({"method": name} for name in (3, ["linear"], "../x", "")),
        *({"changes": changes} for changes in ([], {"lr": float("inf")}, {"epochs": 10**12})),
        *({"suite": name} for name in (None, 3, "a\x00")),
        *({"at": AT | {"epochs": epochs}} for epochs in (0, -1, 10**12, "1")),
        *({"at": AT | {"point": point}} for point in ({}, {"lr": 0.1}, POINT | {"lr": "x"}, 3)),
        *({"at": AT | {"point": POINT | {"lr": rate}}} for rate in (-1, 0, 1e300)),
        *({"at": at} for at in ({"point": POINT}, AT | {"learnt": "../x"}, "x", 3)),
        {"plugins": "x"},
        {"variant": 3},
    ],
    ids=str,
)
def test_a_cell_s_names_are_held_to_their_types(cards: Path, changed: dict[str, Any]) -> None:
    names = names_of_a_cell(cards) | changed
    if names["suite"] is None:  # as a request has it: the suite's own choice
        names["backbone"] = "-x"
    with pytest.raises(UserError):
        plan.plan_cells(request_from_json(names, cards / "data", "cpu"))


@pytest.mark.parametrize("absent", ["suite", "method", "backbone", "task", "seed", "changes"])
def test_a_cell_without_one_of_its_names_is_refused(cards: Path, absent: str) -> None:
    names = names_of_a_cell(cards)
    del names[absent]
    with pytest.raises(UserError, match=f"names its {absent}"):
        request_from_json(names, cards / "data", "cpu")


def test_a_worker_refuses_a_job_out_of_bounds(cards: Path) -> None:
    names = names_of_a_cell(cards) | {"seed": -1}
    job = jobs.Job("0" * 16, names, str(cards / "data"), "cpu")
    with pytest.raises(UserError, match="seeds"):
        jobs.resolve_cell(jobs.parse_job(job.to_json()))


def test_a_search_point_has_rates() -> None:
    assert SearchPoint(POINT, 1, "train", "val").point == POINT
    with pytest.raises(UserError, match="a search point needs a number as lr"):
        SearchPoint({"weight_decay": 0.0}, 1, "train", "val")


def test_more_cells_than_fit_into_memory_are_refused(cards: Path) -> None:
    many = Request(suite=str(cards / "tiny.toml"), seeds=list(range(130_000)), root=cards / "data")
    with pytest.raises(UserError, match="260,000 cells were asked for, and 250,000 can be planned"):
        plan.plan_cells(many)
