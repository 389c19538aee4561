"""One image of a split, as the rules see it, wherever it lies."""

from typing import Protocol


class Listed(Protocol):
    """One image of a split."""

    @property
    def label(self) -> int: ...
    @property
    def source(self) -> str:
        """The source's split that it is from; empty: of a folder, where keys tell images apart."""
        ...

    @property
    def key(self) -> str: ...
    @property
    def sha256(self) -> str:
        """Of its bytes; empty: not known."""
        ...

    @property
    def origin(self) -> str:
        """Where it is listed, for messages."""
        ...


def name(row: Listed) -> tuple[str, str]:
    """What tells the image from all others."""
    return row.source, row.key
