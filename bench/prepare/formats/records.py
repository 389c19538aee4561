"""Which of a source's records are wanted, and whether each has a label."""

from collections.abc import Collection

from bench.errors import UserError
from bench.prepare.formats.base import Name


def require_equal(origin: object, labels: int, images: int) -> None:
    """Raise `UserError` where a file has not one label an image."""
    if labels != images:
        raise UserError(f"{origin}: {labels:,} labels for {images:,} images")


def indices(
    wanted: Collection[Name], split: str, count: int, origin: object, prefix: str = ""
) -> list[int]:
    """The numbers of a split's wanted records, ascending; raises `UserError` for one beyond."""
    chosen = sorted(int(key.removeprefix(prefix)) for where, key in wanted if where == split)
    if chosen and chosen[-1] >= count:
        raise UserError(f"{origin}: no record {chosen[-1]}; it holds {count:,}")
    return chosen


def keys(wanted: Collection[Name], split: str) -> set[str]:
    """The wanted records of a split."""
    return {key for where, key in wanted if where == split}
