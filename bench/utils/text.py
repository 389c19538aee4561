"""Text: decoding users' files (UTF-8, with or without a BOM), name prefixes, durations."""

import codecs
from collections.abc import Iterable, Mapping
from typing import Any

WIDE_ENCODING_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark begins it
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class NotText(ValueError):
    """Bytes that are not UTF-8; the message says what they may be."""


def decode_utf8(content: bytes) -> str:
    """Decode UTF-8, without a byte order mark; raise `NotText` for anything else."""
    kind = next(
        (name for mark, name in WIDE_ENCODING_MARKS.items() if content.startswith(mark)), ""
    )
    if not kind and b"\x00" in content:
        kind = "UTF-16 (it holds zero bytes)"
    if kind:
        raise NotText(f"it looks like {kind}; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotText(f"it is not UTF-8 text: {error}") from None


def longest_prefix(method: str, known: Iterable[str]) -> str:
    """Return the longest known name that equals or begins `method`: spt_deep, spt_deep_kmeans."""
    return max((n for n in known if f"{method}_".startswith(f"{n}_")), key=len, default="")


def longest_prefix_entry(method: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the one entry of a table that holds for `method`, by its name; empty without one."""
    name = longest_prefix(method, table)
    return {name: table[name]} if name in table else {}


def format_duration(seconds: float) -> str:
    """Format seconds in the unit that reads best.

    >>> format_duration(90)
    '1.5 min'
    """
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"
