"""Counts of what was tried, shown when the tests end."""

from collections import Counter

tried: Counter[str] = Counter()


def add(kind: str, number: int = 1) -> None:
    """Count `number` more of a kind: records, commands."""
    tried[kind] += number
