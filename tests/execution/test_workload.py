"""The work of a request is that of its runs: counted by hand, and by running it."""

from dataclasses import replace
from pathlib import Path

from bench.execution import resolution
from bench.execution.request import Request
from bench.execution.workload import Workload, workload


def resolved(**changes: object) -> resolution.ResolvedRequest:
    return resolution.resolve_names(
        Request(suite="vtab1k", methods=["lora"], changes=changes, seeds=[0, 1])
    )


def test_the_work_of_vtab_is_that_of_its_images() -> None:
    found = workload(resolved(epochs=100, test_evaluations=1), "lora", is_tuned=False)
    assert found.finals == 19 * 2
    assert found.train_steps == 2 * 19 * 100 * -(-1000 // 32)
    assert found.trials == 0


def test_trials_train_on_800_images_and_test_on_200() -> None:
    asked = resolved(epochs=10, warmup_epochs=1, **{"tuning.trials": 4})
    tuned = workload(asked, "lora", is_tuned=True)
    untuned = workload(asked, "lora", is_tuned=False)
    assert tuned.trials == 4 * 19
    assert tuned.train_steps - untuned.train_steps == 4 * 19 * 10 * 25
    assert tuned.test_batches - untuned.test_batches == 4 * 19 * 7


def test_a_share_of_the_images_is_less_work() -> None:
    half = workload(resolved(epochs=1, warmup_epochs=0, train_share=0.5), "lora", is_tuned=False)
    assert half.train_steps == 2 * 19 * -(-500 // 32)


def test_data_without_a_count_are_counted_from_their_lists(cards: Path) -> None:
    request = Request(
        suite=str(cards / "tiny.toml"),
        methods=["linear"],
        tasks=["light"],
        root=cards / "data",
        changes={"epochs": 1, "warmup_epochs": 0, "test_evaluations": 1, "batch": 4},
    )
    found = resolution.resolve_names(request)
    images = sum(
        len((cards / "data" / "light" / name).read_text(encoding="utf-8").splitlines())
        for name in ("train.txt", "val.txt")
    )
    assert workload(found, "linear", is_tuned=False).train_steps == -(-images // 4)


def test_few_shots_are_as_many_images_as_shots_and_classes_say() -> None:
    request = Request(
        suite="fewshot_mini",
        methods=["lora"],
        tasks=["digits_4shot_0"],
        seeds=[0],
        changes={"epochs": 1, "warmup_epochs": 0, "batch": 8},
    )
    found = resolution.resolve_names(request)
    assert workload(found, "lora", is_tuned=False).train_steps == 10 * 4 // 8


def test_work_adds_up() -> None:
    assert Workload(1, 2, 3, 4) + Workload(1, 1, 1, 1) == Workload(2, 3, 4, 5)
    assert replace(Workload(), trials=2) == Workload(2)
