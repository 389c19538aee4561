"""Images whose bytes stand under several names."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.prepare.listed import Listed, name


@dataclass(frozen=True)
class Repeats:
    """How many images have the bytes of others, by what that means."""

    leaked: int  # of test, with the bytes of one of train or val
    torn: int  # of test, with the bytes of one of another class
    torn_learnt: int  # of train and val, with the bytes of one of another class among them

    @classmethod
    def of(cls, learnt: Sequence[Listed], test: Sequence[Listed]) -> "Repeats":
        """Images that two lists name are not counted: another rule is broken there."""
        names = {name(row) for row in learnt}
        classes, of_all = _classes(learnt), _classes([*learnt, *test])
        return cls(
            sum(row.sha256 in classes and name(row) not in names for row in test),
            sum(len(of_all.get(row.sha256, ())) > 1 for row in test),
            sum(len(classes.get(row.sha256, ())) > 1 for row in learnt),
        )

    def said(self) -> str:
        """What there is of it; empty: nothing."""
        leaked = f"{self.leaked:,} images of test are those of train or val, byte for byte"
        count = self.torn + self.torn_learnt
        torn = f"{count:,} images have the bytes of one of another class"
        return "; ".join([leaked] * bool(self.leaked) + [torn] * bool(count))


def _classes(rows: Iterable[Listed]) -> dict[str, set[int]]:
    """The classes under which each image's bytes stand."""
    found: dict[str, set[int]] = {}
    for row in rows:
        if row.sha256:
            found.setdefault(row.sha256, set()).add(row.label)
    return found
