"""Cases of methods, of which only one of each class is run where the long tests are not."""

from collections.abc import Sequence
from typing import Any

import pytest

import methods


def first_of_each_class(names: Sequence[str] | None = None) -> set[str]:
    """The first name of each class of methods; the others differ from it in fields alone."""
    first: dict[type, str] = {}
    for name in methods.names() if names is None else names:
        first.setdefault(type(methods.create(name)), name)
    return set(first.values())


def one_of_each_class(names: Sequence[str]) -> list[Any]:
    """The names as cases; those that are not the first of their class are long."""
    first = first_of_each_class(names)
    return [name if name in first else pytest.param(name, marks=pytest.mark.long) for name in names]
