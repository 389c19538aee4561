"""The work of planning grows no faster than the number of tasks or cells: calls are counted."""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bench.cli import run as run_command
from bench.config import loading
from bench.execution import plan, plan_lines, progress, session, tuning
from bench.execution.request import Request, RunOptions
from bench.records.leases import Leases
from bench.records.schema import Failure, Record, Settings
from bench.records.store import Store
from support import large_suites

METHODS = ["linear", "bias", "ssf"]
FEW = 20
LIMIT = 1.05  # times what proportion gives; a call for each pair of tasks gives 1.1 to 2


def count_calls(work: Callable[[], object]) -> int:
    """Return the number of calls within a piece of work, of Python's functions and of C's."""
    calls = 0

    def note(_frame: object, event: str, _what: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


def require_proportional(prepare: Callable[[int], Callable[[], object]]) -> None:
    """Hold the calls of a work on 2 and 4 times `FEW` tasks to what proportion would give.

    What is quadratic, with one call for each pair of tasks, would take twice that.
    """
    for _ in range(2):  # what is imported at the first use, and cached once all is imported
        prepare(FEW)()
    one, two, four = (count_calls(prepare(times * FEW)) for times in (1, 2, 4))
    assert four - two < LIMIT * 2 * (two - one)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture
def request_of(tmp_path: Path) -> Callable[[int], Request]:
    """The request for all cells of a suite of so many tasks, read from its card anew."""

    def make(tasks: int) -> Request:
        loading._parse_card.cache_clear()
        card = large_suites.write(tmp_path / f"large{tasks}.toml", tasks, ["linear"])
        return Request(card, seeds=[0])

    return make


def of_many(asked: Request) -> Request:
    return replace(asked, methods=METHODS, seeds=[0, 1])


def write_records(cells: list[plan.Cell], store: Store) -> None:
    """Write a record of a failure for each cell."""
    for cell in cells:
        failure = Failure("failed", "RuntimeError", "it broke")
        store.write(Record(cell.settings, cell.task.group, None, failure, request=cell.request))


def test_planning(request_of: Callable[[int], Request], store: Store) -> None:
    require_proportional(lambda n: partial(session.plan, request_of(n), store.root))


@pytest.mark.long
def test_planning_of_many_cells_a_task(request_of: Callable[[int], Request], store: Store) -> None:
    require_proportional(lambda n: partial(session.plan, of_many(request_of(n)), store.root))


@pytest.mark.long
def test_planning_where_every_task_is_named(
    request_of: Callable[[int], Request], store: Store
) -> None:
    def prepare(tasks: int) -> Callable[[], object]:
        asked = replace(request_of(tasks), tasks=[f"t{i}" for i in reversed(range(tasks))])
        return lambda: session.plan(asked, store.root)

    require_proportional(prepare)


@pytest.mark.long
def test_planning_of_searches(request_of: Callable[[int], Request], store: Store) -> None:
    def prepare(tasks: int) -> Callable[[], object]:
        asked = replace(request_of(tasks), tune=True)
        return lambda: session.tuning_state(tuning.plan_searches(asked), store.root)

    require_proportional(prepare)


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    "options", [RunOptions(), RunOptions(only="failed", limit_cells=3)], ids=str
)
def test_planning_printing_and_status_where_half_is_recorded(
    request_of: Callable[[int], Request], tmp_path: Path, options: RunOptions
) -> None:
    def prepare(tasks: int) -> Callable[[], object]:
        asked = of_many(request_of(tasks))
        cells = plan.plan_cells(asked)
        own = Store(tmp_path / f"half{tasks}")
        if not own.root.exists():
            write_records(cells[::2], own)
            Leases(own.root).acquire(cells[1].digest, {"cell": "a cell"})

        def work() -> None:
            found = session.plan(asked, own.root).finals
            assert sum(1 for _ in run_command._untuned_lines(found, own, options)) > tasks
            plan_lines.data_warnings(found.cells)
            counted = progress.snapshot(found.cells, own)
            assert counted.failed == len(cells) // 2
            assert len(counted.running) == 1

        return work

    require_proportional(prepare)


def test_a_built_in_task_is_looked_at_once_under_all_its_names(
    request_of: Callable[[int], Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, seen = plan.selection.load_split, []
    monkeypatch.setattr(plan.selection, "load_split", lambda *a: seen.append(a[2]) or read(*a))
    cells = plan.plan_cells(request_of(30))
    assert seen == ["trainval", "test"]
    assert len({cell.settings.split for cell in cells}) == 1
    assert len({cell.digest for cell in cells}) == 30


def test_built_in_tasks_that_say_other_things_of_their_images_are_looked_at_each(
    tmp_path: Path,
) -> None:
    card = Path(large_suites.write(tmp_path / "large.toml", 3, ["linear"]))
    text = card.read_text(encoding="utf-8").replace("classes = 10", "classes = 11", 1)
    card.write_text(text, encoding="utf-8")
    first, *others = plan.plan_cells(Request(str(card)))
    assert first.data_warnings
    assert "t0" in first.data_warnings[0]
    assert not any(cell.data_warnings for cell in others)


def test_warnings_name_each_task(tmp_path: Path) -> None:
    card = Path(large_suites.write(tmp_path / "large.toml", 2, ["linear"]))
    text = card.read_text(encoding="utf-8").replace("classes = 10", "classes = 11")
    card.write_text(text, encoding="utf-8")
    first, second = plan.plan_cells(Request(str(card)))
    assert "t0" in first.data_warnings[0]
    assert "t1" in second.data_warnings[0]


def test_a_cell_is_hashed_once_and_only_where_its_name_is_asked_for(
    request_of: Callable[[int], Request], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, hashed = Settings.digest, Counter[str]()
    monkeypatch.setattr(Settings, "digest", lambda self: hashed.update([self.task]) or digest(self))

    def dry_run() -> plan.Plan:
        hashed.clear()
        found = session.plan(request_of(30), store.root).finals
        list(run_command._untuned_lines(found, store, RunOptions()))
        return found

    found = dry_run()
    assert set(hashed) == {"t0"}  # whose record is tried out
    write_records(found.cells[:1], store)
    dry_run()
    assert {hashed[f"t{i}"] for i in range(1, 30)} == {1}
