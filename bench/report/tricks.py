"""The page of tricks: what each is worth on our own records, in points and in changes of order."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bench.records.schema import SYNTHETIC
from bench.report import trick_boards, trick_choices
from bench.report.boards import Board
from bench.report.markdown import table_from_dicts
from bench.report.trick_effects import Effect
from bench.utils.escaping import for_markdown

if TYPE_CHECKING:
    import pandas as pd

PAGE = "tricks.md"
NOTICE = "<!-- made by `python -m bench tricks` from the records; do not edit -->"
TITLE = "# What each trick is worth"
EXPLANATION = (
    "Each table compares the same methods on the same tasks, without a trick and with it. Points: "
    "the mean gain over methods, in accuracy points. Most: the largest gain of one method. Swaps "
    "if all: pairs of methods whose order reverses when every method uses the trick. Swaps if "
    "one: pairs whose lower-ranked method overtakes the other when it alone uses the trick, as "
    "when a paper compares its own row with copied rows. Widest lead: the largest lead that is "
    "overturned this way. Brackets: 95 %, bootstrap over tasks and methods; with few tasks they "
    "are too narrow. Percentages are of all pairs. Results folders inside this one are listed "
    "separately."
)
WORDS = frozenset({"suite", "backbone", "recipe", "data", "input"})
MORE_SEEDS, MORE_TRIALS = (3, 5), (2, 4, 8, 16)
TUNE_WIDELY = "python -m bench run --suite mini --recipe vpt2022 --tune"  # of 40 points
NORMALISE = "python -m bench run --suite mini --seeds 0 --set normalisation"

Measure = Callable[[Sequence[Board], "pd.DataFrame"], Iterable[Effect]]


@dataclass(frozen=True)
class Trick:
    """A trick, how records show it, and the commands that make such records."""

    name: str
    note: str
    effects: Measure
    commands: tuple[str, ...]
    family: str = ""  # of tricks that differ in a number or in the data: the summary has one of it


def _of_boards(measure: Callable[[Sequence[Board]], Iterable[Effect]]) -> Measure:
    return lambda boards, _: measure(boards)


def _of_frame(measure: Callable[["pd.DataFrame"], Iterable[Effect]]) -> Measure:
    return lambda _, frame: measure(frame)


def _seeds_trick(seeds: int) -> Trick:
    return Trick(
        f"Best of {seeds} seeds on each task",
        f"The expected best of {seeds} of the seeds run, exactly, against their mean; rows with "
        "fewer seeds do not count.",
        _of_boards(partial(trick_boards.best_seeds, seeds=seeds)),
        (f"python -m bench run --suite mini --seeds {','.join(map(str, range(seeds)))}",),
        "seeds",
    )


def _trials_trick(trials: int) -> Trick:
    return Trick(
        f"{trials} trials instead of one",
        f"The expected best of {trials} trials drawn among those run, exactly, against that of "
        "one, on the validation data that they are scored on; a trial without an outcome counts as "
        "chance. Swaps if one is what unequal numbers of trials can do; the wider the grid, the "
        "more.",
        _of_frame(partial(trick_choices.more_trials, trials=trials)),
        (f"{TUNE_WIDELY} --set tuning.trials={trials}",),
        "trials",
    )


AT_EVERY_POINT = (
    "python -m bench run --suite mini --tune",
    "python -m bench run --suite mini --no-tune --set lr=0.001",
    "python -m bench run --suite mini --no-tune --set lr=0.005",
)
TRICKS = (
    Trick(
        "Best epoch on test",
        "The best of the epochs at which test was scored, against the last. Of runs that score "
        "test at few epochs this is a lower bound.",
        _of_boards(trick_boards.best_epochs),
        ("python -m bench run --suite mini --set test_evaluations=10",),
    ),
    *map(_seeds_trick, MORE_SEEDS),
    Trick(
        "Fields and rates chosen per task, by the score that is reported",
        "The best point of the grid on each task against the best for all tasks, both by the "
        "validation accuracy of trials and scored by it: validation data in the place of test.",
        _of_frame(trick_choices.per_task_on_trials),
        AT_EVERY_POINT[:1],
        "choice",
    ),
    Trick(
        "Fields and rates chosen per task on test, against once for all",
        "Of final runs at several fields or rates: the best on each task's test data against the "
        "best for all tasks.",
        _of_frame(trick_choices.per_task_on_test),
        AT_EVERY_POINT[1:],
        "choice",
    ),
    Trick(
        "Fields and rates chosen per task on validation, against once for all",
        "Both chosen on validation data by trials, and scored on test by final runs at the same "
        "points.",
        _of_frame(trick_choices.per_task_on_validation),
        AT_EVERY_POINT,
        "choice",
    ),
    Trick(
        "Fields and rates chosen per task on test, against on validation",
        "Both for each task, and scored on test by final runs at the points of the trials.",
        _of_frame(trick_choices.pick_on_test),
        AT_EVERY_POINT,
        "choice",
    ),
    *map(_trials_trick, MORE_TRIALS),
    Trick(
        "Mean over groups",
        "Instead of the mean over tasks, of the same numbers.",
        _of_boards(trick_boards.group_means),
        ("python -m bench run --suite mini",),
    ),
    Trick(
        "Another checkpoint",
        "The same architecture with other weights, and the input that these expect, in the "
        "direction that gains.",
        _of_boards(trick_boards.checkpoints),
        ("python -m bench run --suite mini --backbones vit_mini_mae,vit_mini_sup",),
    ),
    Trick(
        "JPEG copies of quality 75",
        "Instead of lossless images, in training and in testing.",
        _of_boards(trick_boards.jpeg_copies),
        (
            "python -m bench run --suite mini --variant lossless",
            "python -m bench run --suite mini --variant jpeg75",
        ),
    ),
    Trick(
        "Input in [0, 1]",
        "Instead of the mean and deviation that the backbone was trained with.",
        _of_boards(trick_boards.unnormalised_inputs),
        (f"{NORMALISE}=backbone", f"{NORMALISE}=none"),
    ),
)


def render_tricks(folders: Sequence[tuple[Sequence[Board], "pd.DataFrame"]]) -> str:
    """Return the page of all tricks, with the commands for those that no record shows yet.

    `folders` are the boards and the records of each results folder; synthetic images do not count.
    """
    folders = [_without_synthetic(*folder) for folder in folders]
    found = [
        (trick, [shown for boards, frame in folders for shown in trick.effects(boards, frame)])
        for trick in TRICKS
    ]
    parts = [NOTICE, TITLE, *map(for_markdown, summary(found)), EXPLANATION]
    for trick, effects in found:
        parts += [f"## {trick.name}", trick.note, _table(trick, effects)]
    return "\n\n".join(parts) + "\n"


def _without_synthetic(
    boards: Sequence[Board], frame: "pd.DataFrame"
) -> tuple[list[Board], "pd.DataFrame"]:
    return [b for b in boards if not b.is_synthetic], frame[frame["variant"] != SYNTHETIC]


def summary(found: Sequence[tuple[Trick, Sequence[Effect]]]) -> list[str]:
    """Return up to three sentences: of the tricks that overturn most pairs when one has them.

    A trick stands with its table of most cells, a family with one trick; one without any table is
    not mentioned.
    """
    largest = [(trick, max(effects, key=_cells)) for trick, effects in found if effects]
    ordered = sorted(largest, key=lambda one: -one[1].swaps_of_one / one[1].pairs)
    families: dict[str, str] = {}
    for trick, shown in ordered:
        families.setdefault(trick.family or trick.name, _sentence(trick, shown))
    return list(families.values())[:3]


def _cells(shown: Effect) -> int:
    return shown.before.size


def _sentence(trick: Trick, shown: Effect) -> str:
    gain, (low, high) = shown.gains.mean(), shown.intervals.gain
    return (
        f"{trick.name}: {gain:+.2f} points ({low:+.2f} to {high:+.2f}) over {shown.methods} "
        f"methods on {shown.tasks} tasks of {shown.place['suite']}; {shown.swaps_of_one} of "
        f"{shown.pairs} pairs swap if one method has it, {shown.swaps_of_all} if all have."
    )


def _table(trick: Trick, effects: Sequence[Effect]) -> str:
    if effects:
        return table_from_dicts([_line(shown) for shown in effects], WORDS)
    commands = ", then ".join(f"`{command}`" for command in trick.commands)
    return f"No records show it; they come from {commands}."


def _line(shown: Effect) -> dict[str, str]:
    of = shown.intervals
    return {
        **shown.place,
        "methods": str(shown.methods),
        "tasks": str(shown.tasks),
        "points": f"{shown.gains.mean():+.2f} [{of.gain[0]:+.2f}, {of.gain[1]:+.2f}]",
        "most": f"{shown.gains.max():+.2f}",
        "pairs": str(shown.pairs),
        "swaps if all": _swaps(shown.swaps_of_all, of.all_swap),
        "swaps if one": _swaps(shown.swaps_of_one, of.one_swaps),
        "widest lead": f"{shown.widest_lead:.2f}" if shown.swaps_of_one else "",
    }


def _swaps(count: int, share: tuple[float, float]) -> str:
    return f"{count} [{100 * share[0]:.0f} %, {100 * share[1]:.0f} %]"
