"""Few-shot suites: a card's ``[shots]`` makes each of its tasks one for each count and list.

With ``counts = [1, 16]`` and ``lists = [0, 1]`` the task ``food101`` becomes ``food101_1shot_0``,
``food101_1shot_1``, ``food101_16shot_0`` and ``food101_16shot_1``.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic.dataclasses import dataclass

from bench.config.bounds import Seed, whole
from bench.records.schema import STRICT
from bench.utils.names import shorten

if TYPE_CHECKING:
    from bench.config.suite import Task

MAX_SHOTS = 100_000  # images of a class
SHOTS_MARK, LIST_MARK = "{shots}", "{list}"  # in the name of a list: where the numbers stand
ShotCount = Annotated[int, whole(1, MAX_SHOTS)]


@dataclass(frozen=True, config=STRICT)
class Draw:
    """The shots of a few-shot task: so many images of each class, by one of several lists."""

    shots: ShotCount
    list: Seed  # its number; of a built-in task, the seed by which images are drawn


@dataclass(frozen=True, config=STRICT)
class Shots:
    """The numbers of shots of a suite, and the numbers of its lists."""

    counts: list[ShotCount]
    lists: list[Seed]

    def __post_init__(self) -> None:
        for name in ("counts", "lists"):
            _require_distinct(name, getattr(self, name))

    def draws(self) -> Iterator[Draw]:
        """Yield every list of every number of shots."""
        for count in self.counts:
            yield from (Draw(count, number) for number in self.lists)


def _require_distinct(name: str, numbers: Sequence[int]) -> None:
    repeated = [number for number, times in Counter(numbers).items() if times > 1]
    if repeated or not numbers:
        given = shorten(numbers)
        raise ValueError(f"{name} needs distinct whole numbers; {given} was given")


def expand_task(task: "Task", shots: Shots) -> list["Task"]:
    """Return the few-shot tasks of a card's task, in the order of `Shots.draws`."""
    return [_with_draw(task, draw) for draw in shots.draws()]


def _with_draw(task: "Task", draw: Draw) -> "Task":
    """Return a task trained on a draw; how many images that is follows from its classes."""
    title = f"{task.title or task.name}, {_words(draw.shots)}, list {draw.list}"
    return replace(
        task,
        name=task_name(task.name, draw.shots, draw.list),
        group=f"{task.name} {draw.shots}-shot",
        title=title,
        folder=task.folder or task.name,
        draw=draw,
        members={split: _filled(name, draw) for split, name in task.members.items()},
        counts={s: n for s, n in task.counts.items() if s not in ("train", "trainval")},
    )


def _words(shots: int) -> str:
    return f"{shots} shot{'s' * (shots > 1)}"


def _filled(name: str, draw: Draw) -> str:
    return name.replace(SHOTS_MARK, str(draw.shots)).replace(LIST_MARK, str(draw.list))


def require_drawable(task: "Task") -> None:
    """Raise `ValueError` for a task of a card with shots that no list or draw can be made of."""
    if task.draw:
        raise ValueError(f"task {task.name!r} has a draw, which the card's shots make")
    if task.embedded:
        return
    listed = task.members.get("train", "")
    if SHOTS_MARK not in listed or LIST_MARK not in listed:
        raise ValueError(
            f"task {task.name!r} should name its lists in members.train, with {SHOTS_MARK} and "
            f"{LIST_MARK} where the numbers stand; {shorten(listed)} was given"
        )


def shot_problem(task: "Task", labels: Iterable[int]) -> str:
    """Return which class the training images of a few-shot task are not enough of, as a clause.

    Or too many; empty if each class has as many as the task's shots.
    """
    if task.draw is None:
        return ""
    found, shots = Counter(labels), task.draw.shots
    odd = next((number for number in range(task.classes) if found[number] != shots), None)
    if odd is None:
        return ""
    return (
        f"class {odd} has {found[odd]:,} images; there must be {shots:,} of each class, the shots "
        f"of {task.name}"
    )


def task_name(dataset: str, shots: int, number: int) -> str:
    """Return the name of a few-shot task: ``food101_16shot_0``."""
    return f"{shots_name(dataset, shots)}_{number}"


def shots_name(dataset: str, shots: int) -> str:
    """Return the name of the tasks of all lists: ``food101_16shot``."""
    return f"{dataset}_{shots}shot"


def dataset_name(task: str, few_shot: Mapping[str, Any]) -> str:
    """Return the data set of a few-shot task, by its name and the draw in its settings."""
    return task.removesuffix(task_name("", few_shot["shots"], few_shot["list"]))
