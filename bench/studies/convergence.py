"""How soon a method is where another ends."""

from collections.abc import Sequence

import pandas as pd


def first_reached(accuracies: Sequence[float], target: float) -> int | None:
    """The epoch, from 1, after which an accuracy is first at least the target; None: never."""
    return next((i for i, value in enumerate(accuracies, start=1) if value >= target), None)


def overtaking(frame: pd.DataFrame, value: str) -> pd.DataFrame:
    """For each two methods the epoch at which one first reaches the other's last `value`.

    `frame` has the columns suite, task, backbone, method, seed, epoch (from 1) and the value. A row
    for each suite, task, backbone and pair: over the seeds that both have, the median `epoch` of
    those that get there, how many do (`reached`), and of how many (`seeds`).
    """
    rows = []
    for place, of_place in frame.groupby(["suite", "task", "backbone"], sort=False):
        curves = {
            key: of_cell.sort_values("epoch")[value].tolist()
            for key, of_cell in of_place.groupby(["method", "seed"], sort=False)
        }
        for method in dict.fromkeys(m for m, _ in curves):
            for other in dict.fromkeys(m for m, _ in curves if m != method):
                seeds = [s for m, s in curves if m == method and (other, s) in curves]
                found = [first_reached(curves[method, s], curves[other, s][-1]) for s in seeds]
                rows.append([*place, method, other, *_counted(found)])
    names = ["suite", "task", "backbone", "method", "other", "epoch", "reached", "seeds"]
    return pd.DataFrame(rows, columns=names)


def _counted(found: Sequence[int | None]) -> tuple[float | None, int, int]:
    reached = [epoch for epoch in found if epoch is not None]
    return (float(pd.Series(reached).median()) if reached else None), len(reached), len(found)
