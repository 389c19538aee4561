"""Rules for the further test sets of a suite's card, and for how its tasks name them."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

from bench.utils.errors import unknown_name

if TYPE_CHECKING:
    from bench.config.suite import Shift, Suite, Task

T = TypeVar("T", int, str)


def repeated(values: Iterable[T]) -> list[T]:
    """Return the values that occur more than once, sorted."""
    return sorted(value for value, count in Counter(values).items() if count > 1)


def check_shifts(suite: "Suite") -> None:
    """Raise `ValueError` for shifts that no task could be scored on, or that none names."""
    every = [one.name for shift in suite.shift for one in shift.expanded()]
    if twice := repeated([*every, *{task.name for task in suite.task}]):
        raise ValueError(f"the shift {twice[0]!r} is listed twice, or has the name of a task")
    known = {shift.name: shift for shift in suite.shift}
    for task in suite.task:
        if twice := repeated(task.shifts):
            raise ValueError(f"the task {task.name!r} names the shift {twice[0]!r} twice")
        for name in task.shifts:
            if name not in known:
                raise ValueError(str(unknown_name(f"shift of task {task.name!r}", name, known)))
            _check_shift(suite, task, known[name])
    if unused := known.keys() - {name for task in suite.task for name in task.shifts}:
        raise ValueError(f"no task names the shift {min(unused)!r} among its shifts")


def _check_shift(suite: "Suite", task: "Task", shift: "Shift") -> None:
    """Raise `ValueError` for a shift that does not suit a task that names it."""
    beyond = [number for number in shift.classes or [] if number >= task.classes]
    if beyond:
        raise ValueError(
            f"the shift {shift.name!r} names class {beyond[0]}; task {task.name!r} has classes 0 "
            f"to {task.classes - 1}"
        )
    if shift.drawn and not task.embedded:
        raise ValueError(
            f"the shift {shift.name!r} is drawn, which suits embedded tasks; {task.name!r} is none"
        )
    if shift.source and not (shift.label and shift.members):
        raise ValueError(f"the source of shift {shift.name!r} needs a label and members")
    if not (shift.drawn or shift.source or suite.lists.get("test")):
        raise ValueError(f"the shift {shift.name!r} needs drawn, a source, or the suite's lists")
