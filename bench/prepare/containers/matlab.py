"""MATLAB files, read by SciPy."""

from io import BytesIO
from pathlib import Path
from typing import Any

import scipy.io
from scipy.io.matlab import MatReadError

from bench.errors import UserError
from bench.prepare.containers.members import understood


def variables(content: Path | bytes, origin: object, *names: str) -> list[Any]:
    """Those variables, without their dimensions of length 1 and wholly in memory."""
    with understood(origin):
        try:
            held = scipy.io.loadmat(_file(content), squeeze_me=True, variable_names=list(names))
        except (MatReadError, NotImplementedError) as error:
            raise UserError(f"{origin} cannot be read: {error}") from None
    for name in names:
        if name not in held:
            raise UserError(f"{origin} holds no variable {name}")
    return [held[name] for name in names]


def shape(content: Path | bytes, origin: object, name: str) -> tuple[int, ...]:
    """A variable's dimensions; the variable is not read."""
    with understood(origin):
        for held, dimensions, _ in scipy.io.whosmat(_file(content)):
            if held == name:
                return tuple(dimensions)
    raise UserError(f"{origin} holds no variable {name}")


def _file(content: Path | bytes) -> str | BytesIO:
    return BytesIO(content) if isinstance(content, bytes) else str(content)
