"""Checks of hyper-parameters, for use in ``__post_init__``."""

from collections.abc import Collection


def require_size(what: str, value: int, least: int = 1) -> None:
    """Raise `ValueError` if a rank, a width or a number of layers is below `least`."""
    if value < least:
        raise ValueError(f"{what} must be at least {least}; {value} was given")


def require_dropout_rate(what: str, value: float) -> None:
    """Raise `ValueError` unless a dropout rate is in [0, 1)."""
    if not 0 <= value < 1:
        raise ValueError(f"{what} must be at least 0 and below 1; {value} was given")


def require_choice(what: str, value: str, known: Collection[str]) -> None:
    """Raise `ValueError` unless `value` is one of the `known` names."""
    if value not in known:
        raise ValueError(f"{what} must be one of {', '.join(known)}; {value!r} was given")
