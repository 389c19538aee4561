"""How far methods are from one of them, in pairs that differ in the method alone."""

from collections.abc import Iterable, Sequence

import pandas as pd

from bench.studies import frames

COLUMNS = ("method", "against", "mean", "low", "high", "pairs")


def paired(
    frame: pd.DataFrame, pair: Sequence[str], value: str, against: Iterable[str]
) -> pd.DataFrame:
    """A row for each method and each of those that it is held `against`, with `COLUMNS`.

    `frame` has the columns `pair`, method and the value; of the places that both have, the mean of
    method - other and its 95 % interval (Student's t over the pairs, as of independent ones), which
    one pair does not have. What a pair does not tell apart is averaged first.
    """
    alike = frame.groupby([*pair, "method"], sort=False, dropna=False)[value].mean()
    table = alike.unstack("method")[list(dict.fromkeys(frame["method"]))]
    apart = {
        (method, other): table[method] - table[other]
        for method in table
        for other in against
        if other in table and method != other
    }
    if not apart:
        return pd.DataFrame(columns=[*COLUMNS])
    values = pd.concat(apart, names=["method", "against"]).dropna()
    found = frames.intervals(values, ["method", "against"])
    return found.rename(columns={"count": "pairs"})[[*COLUMNS]]
