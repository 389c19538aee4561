"""A cell in several processes: equal results, and a clear error when one process dies."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest
import torch

from bench.cli import main
from bench.execution import jobs, plan, process_group
from bench.execution.executors import factory
from bench.execution.plan import Request
from bench.execution.process_group import RankNotStarted, RankProcess
from bench.execution.request import RunOptions
from bench.records.schema import Failure
from bench.training.results import RunResult
from bench.utils.errors import UserError
from support import distributed_workers, paths, process_endings, tiny

METHODS = ["full", "linear", "lora", "spt_deep"]  # and `Own`
CHANGES = {"epochs": 3, "warmup_epochs": 0, "test_evaluations": 2, "precision": "fp32"}
UNEVEN = CHANGES | {"batch": 13}  # of 40 images the last batch has 1; of 16, the last has 3
RANDOM = CHANGES | {"dropout": 0.5}
VIEWS = UNEVEN | {"views.default.train": "random_resized_crop_flip"}


@pytest.fixture(scope="module")
def requests(cards: Path) -> list[Request]:
    """Cells with uneven batches, with varying views, and, twice, with dropout."""
    about = {"suite": str(cards / "tiny.toml"), "tasks": ["light"], "root": cards / "data"}
    dropping = Request(**about, methods=["lora"], changes=RANDOM)
    return [
        Request(**about, methods=METHODS, changes=UNEVEN),
        Request(**about, methods=["linear"], changes=VIEWS),
        dropping,
        dropping,
    ]


@contextmanager
def members(target: Callable[..., None], *args: tuple) -> Iterator[list[RankProcess]]:
    """Start a process for each tuple of arguments, with a pipe to it."""
    context, found = get_context("spawn"), []
    try:
        for number, own in enumerate(args):
            ours, theirs = context.Pipe()
            process = context.Process(target=target, args=(*own, theirs))
            process.start()
            theirs.close()
            found.append(RankProcess(number, process, ours))
        yield found
    finally:
        for member in found:
            member.process.kill()
            member.process.join()
            member.pipe.close()


@pytest.fixture(scope="module")
def alone(
    requests: list[Request], tmp_path_factory: pytest.TempPathFactory
) -> list[list[RunResult]]:
    """The results of the cells in one process, by request."""
    results = tmp_path_factory.mktemp("alone")
    return [distributed_workers.trained(request, results) for request in requests[:3]]


@pytest.fixture(scope="module")
def both(
    requests: list[Request], tmp_path_factory: pytest.TempPathFactory
) -> list[list[list[RunResult]]]:
    """Their results in two processes, by process and request."""
    folder = tmp_path_factory.mktemp("both")
    rest = (2, requests, folder / "results", folder / "meeting")
    with members(distributed_workers.train, (0, *rest), (1, *rest)) as started:
        return [member.pipe.recv() for member in started]


def outcomes(endings: list[RunResult]) -> list:
    assert not [ending.failure for ending in endings if ending.failure]
    return [ending.outcome for ending in endings]


@pytest.mark.long
@pytest.mark.parametrize(
    "request_number",
    [
        pytest.param(0, id="uneven batches"),
        pytest.param(1, id="varying views", marks=pytest.mark.long),
    ],
)
def test_two_processes_give_the_numbers_of_one(
    alone: list[list[RunResult]], both: list[list[list[RunResult]]], request_number: int
) -> None:
    pairs = zip(outcomes(alone[request_number]), outcomes(both[0][request_number]), strict=True)
    for one, two in pairs:
        assert two.losses == pytest.approx(one.losses, abs=1e-5)
        assert two.test_accuracies == one.test_accuracies
        assert two.predictions == one.predictions
        assert two.test_images == one.test_images == 16


@pytest.mark.long
def test_what_is_fixed_is_computed_once_by_two_processes_too(
    alone: list[list[RunResult]], both: list[list[list[RunResult]]]
) -> None:
    notes = [ending.notes["read_in_training"] for ending in both[0][0]]
    assert notes == [ending.notes["read_in_training"] for ending in alone[0]]
    assert [note.split(":")[0] for note in notes].count("features") == 2  # linear and Own


def test_all_processes_end_with_the_same(both: list[list[list[RunResult]]]) -> None:
    for first, second in zip(*both, strict=True):
        for one, two in zip(outcomes(first), outcomes(second), strict=True):
            assert one.losses == two.losses
            assert one.predictions == two.predictions


@pytest.mark.long
def test_dropout_in_two_processes_is_another_draw_that_a_seed_fixes(
    alone: list[list[RunResult]], both: list[list[list[RunResult]]]
) -> None:
    one, two, again = (outcomes(e)[0].losses for e in (alone[2], both[0][2], both[0][3]))
    assert two == again
    assert two != pytest.approx(one, abs=1e-5)


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [("killed", "Killed", "process 2 of 2 was killed by SIGKILL"),
     ("exits", "Exited", "process 2 of 2 ended with status 3")],
)  # fmt: skip
def test_a_process_that_dies_ends_the_cell_with_its_cause(
    how: str, error: str, message: str
) -> None:
    with members(process_endings.end, ("waits",), (how,)) as started:
        failure = process_group._wait_for_ranks(started, lambda *_: None).failure
    assert failure is not None
    assert failure.error == error
    assert failure.message.startswith(message)


@pytest.mark.long
def test_a_process_whose_peer_never_starts_waits_no_longer_than_the_deadline(
    tmp_path: Path,
) -> None:
    with members(distributed_workers.miss, (tmp_path / "meeting",)) as started:
        failure = process_group._wait_for_ranks(started, lambda *_: None).failure
    assert failure is not None
    assert "timeout" in failure.message


def test_the_process_that_dies_is_the_cause_and_not_the_one_that_waits_for_it() -> None:
    missing = RunResult(None, Failure("failed", "RuntimeError", "connection closed by peer"))
    with members(process_endings.end, ("killed",)) as started:
        started[0].process.join()
        cause = process_group._first_failure(missing, started, 2).failure
        assert cause is not None
        assert cause.error == "Killed"
        assert process_group._first_failure(missing, [], 2) is missing


def test_a_process_that_dies_before_all_have_met_is_no_failure_of_the_cell() -> None:
    with (
        members(process_endings.end, ("waits",), ("killed",)) as started,
        pytest.raises(RankNotStarted, match="process 2 of 2 was killed by SIGKILL"),
    ):
        process_group._wait_for_start(started)


def test_a_failure_that_follows_from_a_death_before_all_have_met_is_none_either() -> None:
    missing = RunResult(None, Failure("failed", "RuntimeError", "connection closed by peer"))
    with members(process_endings.end, ("waits",), ("killed",)) as started:
        started[1].process.join()
        with pytest.raises(RankNotStarted, match="killed by SIGKILL"):
            process_group._own_failure(missing, started[1:], 2)
        assert process_group._own_failure(missing, started[:1], 2) is missing


def test_a_process_that_never_meets_the_others_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_group, "START_SECONDS", 0.1)
    with (
        members(process_endings.end, ("waits",)) as started,
        pytest.raises(RankNotStarted, match=r"process 1 of 1 was not ready within 0\.1 s"),
    ):
        process_group._wait_for_start(started)


def test_a_message_that_breaks_off_is_a_death() -> None:
    ours, theirs = get_context("spawn").Pipe()
    os.write(theirs.fileno(), b"\0\0\1\0half of a message")
    theirs.close()
    assert process_group._receive(ours) is None


@pytest.fixture
def rank_starts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The fates that a test gives the next starts, such as ``killed``; later starts are well."""
    fates, real = list[str](), process_group._start_rank

    def start(rank: int, spec: process_group.RankSpec) -> RankProcess:
        fate = fates.pop(0) if rank and fates else ""
        if fate == "refused":
            monkeypatch.setattr(SpawnProcess, "start", refuse)
        started = real(rank, spec)
        if fate == "killed":
            started.process.kill()
        return started

    def refuse(self: SpawnProcess) -> None:
        monkeypatch.setattr(SpawnProcess, "start", real_start)
        raise OSError(11, "Resource temporarily unavailable")

    real_start = SpawnProcess.start
    monkeypatch.setattr(process_group, "_start_rank", start)
    monkeypatch.setattr(process_group, "sleep", lambda _: None)
    return fates


@pytest.mark.long
def test_ranks_of_which_one_is_killed_while_it_starts_are_started_again(
    rank_starts: list[str], cards: Path, tmp_path: Path
) -> None:
    rank_starts += ["killed", "refused"]
    result = process_group.run_distributed(job_of(cards), tmp_path, lambda *_: None)
    assert result.failure is None
    assert result.outcome


def test_ranks_that_cannot_start_are_the_failure_of_the_cell(
    rank_starts: list[str], cards: Path, tmp_path: Path
) -> None:
    rank_starts += ["refused"] * process_group.START_ATTEMPTS
    failure = process_group.run_distributed(job_of(cards), tmp_path, lambda *_: None).failure
    assert failure
    assert failure.message.startswith("process 2 of 2 could not be started: [Errno 11] Resource")


def job_of(cards: Path) -> process_group.Job:
    """A job of two processes."""
    about = {"tasks": ["light"], "root": cards / "data", "changes": CHANGES}
    cell = plan.plan_cells(Request(str(cards / "tiny.toml"), ["linear"], **about))[0]
    return jobs.job_for(cell, "cpu", options=RunOptions(processes=2))


@pytest.mark.long
def test_one_command_trains_a_cell_on_two_processes_and_writes_one_record(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.report.figures._figure_specs", list)
    plugin = ("--plugin", str(paths.FAULTY_METHODS))
    methods = "fault_second,linear"
    words = tiny.command("run", cards, tmp_path, methods, *plugin, "--processes", "2")
    assert main.main(words) == 1
    found = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (tmp_path / "records").rglob("*.json")
    ]
    by_method = {record["settings"]["method"]: record for record in found}
    assert len(found) == len(by_method) == 2
    assert by_method["linear"]["outcome"]["test_images"] == 16
    assert by_method["linear"]["environment"]["processes"] == 2
    assert by_method["fault_second"]["failure"]["message"] == "the second one broke"


def test_a_loss_that_compares_a_batch_s_images_is_refused_for_processes_that_share_it(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = tiny.command("run", cards, tmp_path, "linear,da_vpt", "--processes", "2")
    assert main.main(words) == 2
    assert "the loss of da_vpt compares the images of a batch" in capsys.readouterr().err
    assert not list((tmp_path / "records").rglob("*.json"))


@pytest.mark.parametrize(
    ("processes", "device", "gpus"),
    [(3, "cuda", 2), (2, "cuda", 1), (2, "cuda:1", 0), (2, "mps", 0)],
)
def test_more_processes_than_gpus_are_refused_in_one_sentence(
    processes: int, device: str, gpus: int
) -> None:
    with pytest.raises(UserError, match=f"--processes {processes} takes a GPU for each"):
        factory.require_gpus(processes, device, gpus)


def test_processes_on_a_cpu_and_one_a_gpu_are_not_refused() -> None:
    for processes, device, gpus in ((4, "cpu", 0), (2, "cuda", 2), (1, "cuda:1", 0)):
        factory.require_gpus(processes, device, gpus)


def test_every_worker_has_gpus_of_its_own_for_its_processes() -> None:
    assert factory.gpu_groups(list("01234"), 2) == ["0,1", "2,3"]
    assert factory.gpu_groups(list("01"), 1) == ["0", "1"]
    assert factory.gpu_groups([], 2) == []


def test_threads_are_divided_among_the_processes(cards: Path) -> None:
    job = process_group.Job("", {}, "", "cpu", processes=2)
    before = torch.get_num_threads()
    try:
        for threads, each in ((8, 4), (1, 1)):
            torch.set_num_threads(threads)
            assert process_group.threads_per_rank(job) == each
    finally:
        torch.set_num_threads(before)
