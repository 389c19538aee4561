"""Odd values: numbers, names and files that a stranger could send."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from support.fuzzing.trees import Raw, Table

NAMES = (
    *("", " ", ".", "..", "/", "\\", "-", "--help", "~", "a" * 300, "x" * 10_000, "NaN", "None"),
    *("../../pwned", "../outside/secret", "/etc/passwd", "a/b", "..\\..\\pwned", "con", "$HOME"),
    *("a\0b", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x9b31m", "two\nlines", "\r", "\ttab"),
    *("\u202eesrever", "\u200b", "\u2028", "\ufeffmark", "é", "e\u0301", "\U0001f600", "\x7f"),
    *("=1+1", "+1", "@SUM(A1)", "-1", "a,b", 'a"b', "a|b", "<b>bold</b>", "&amp;", "`x`", "[x](y)"),
    *("![x](http://x/y.png)", "\\input{x}", "$x$", "%s", "{x}", "{0.__class__}", "#", "_", "*"),
    *("{{ 7 * 7 }}", "<script>alert(1)</script>", "javascript:alert(1)", "'; drop", "[red]rich[/]"),
    *(
        "vit_mini_mae",
        "mini",
        "digits",
        "linear",
        "quick",
        "0",
        "1e999",
        "９",
        "²",
        "0x10",
        "1_000",
    ),
)
SURROGATES = ("\ud800", "\udcff", "a\udc80b")
LONG_NUMBERS = ("1" * 400, "-" + "9" * 400, "1" * 5_000, "1e400", "-1e-400", "0." + "1" * 5_000)
NUMBERS = (
    *(0, -1, 1, -0.0, 0.5, 1e308, -1e308, 5e-324, 2**31, 2**32, 2**53 + 1, 2**63, 2**64, -(2**63)),
    *(10**18, 10**30, float("nan"), float("inf"), float("-inf"), 100.0000001, 1e16),
)

names = st.one_of(st.sampled_from(NAMES), st.text(max_size=20))
json_names = st.one_of(names, st.sampled_from(SURROGATES))
numbers = st.one_of(st.sampled_from(NUMBERS), st.integers(), st.floats())


def deep(opening: str, closing: str, depth: int) -> Raw:
    """Nesting of a depth, written as text: to write it as a tree would need as deep a stack."""
    return Raw(opening * depth + closing * depth)


def _values(texts: st.SearchStrategy[str], raws: tuple[Raw, ...]) -> st.SearchStrategy[Any]:
    leaves = st.one_of(
        texts,
        numbers,
        st.sampled_from((None, True, False)),
        st.sampled_from(raws),
        st.just([]),
        st.builds(Table),
    )
    entries = st.lists(st.tuples(texts, leaves), max_size=3).map(Table)
    return st.one_of(leaves, st.lists(leaves, max_size=4), entries)


json_values = _values(
    json_names,
    (
        *map(Raw, LONG_NUMBERS),
        *(deep("[", "]", 60), deep("[", "]", 3_000), deep('{"a":', "}", 100)),
        Raw("[" + "0," * 30_000 + "0]"),
        *map(Raw, ("nul", "'a'", "[1,]", "01", "\\", '"\\ud800"', "/**/1", "1 2", "}")),
    ),
)
toml_values = _values(
    names,
    (
        *map(Raw, LONG_NUMBERS),
        *(deep("[", "]", 60), deep("[", "]", 3_000), deep("{a=", "}", 300)),
        Raw("[" + "0," * 30_000 + "0]"),
        *map(Raw, ("1979-05-27", "07:32:00", "0x" + "f" * 5_000, "'''a\n\nb'''", '"\\uD800"', "[")),
        *map(Raw, ("nan", "inf", "-inf", "", "a", '"', "1_0", "{ a.b = 1, a.b = 2 }", "\x00")),
    ),
)


class Content(bytes):
    """Bytes that do not show in reports of failures."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes cut, flipped, repeated, in another encoding, or with a mark before them."""
    kind = draw(st.sampled_from(("cut", "flip", "repeat", "encode", "mark", "append")))
    where = draw(st.integers(0, max(len(content) - 1, 0)))
    if kind == "cut":
        return content[:where]
    if kind == "flip" and content:
        flipped = content[where] ^ draw(st.integers(1, 255))
        return content[:where] + bytes([flipped]) + content[where + 1 :]
    if kind == "repeat":
        return content[:where] + content[where // 2 :]
    if kind == "encode":
        encoding = draw(st.sampled_from(("utf-16", "utf-32", "utf-16-le", "cp037", "utf-7")))
        return content.decode("utf-8", "replace").encode(encoding, "replace")
    if kind == "mark":
        marks = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff", b"\0", b"\n" * 99)
        return draw(st.sampled_from(marks)) + content
    return content + draw(st.binary(max_size=30))


def _fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def _link(target: str) -> Callable[[Path, Path], None]:
    return lambda path, outside: path.symlink_to(str(target).format(outside=outside, path=path))


def _folder(path: Path, _: Path) -> None:
    path.mkdir()
    (path / "inside.json").write_text("{}", encoding="utf-8")


def _sparse(path: Path, _: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(2**40)


def _unreadable_name(path: Path, _: Path) -> None:
    """A file beside it, whose name is not UTF-8."""
    Path(
        os.fsdecode(os.fsencode(path.with_suffix("")) + b"\xff" + path.suffix.encode())
    ).write_text("{}", encoding="utf-8")


# kinds of files that are put where a plain one is expected; each is made at a path
FILE_KINDS: dict[str, Callable[[Path, Path], None]] = {
    "fifo": _fifo,
    "link to a file outside": _link("{outside}/secret{path.suffix}"),
    "link to /dev/zero": _link("/dev/zero"),
    "link to itself": _link("{path}"),
    "link to a folder outside": _link("{outside}"),
    "link to nowhere": _link("{outside}/nothing"),
    "link to /proc/self/mem": _link("/proc/self/mem"),
    "folder": _folder,
    "1 TiB": _sparse,
    "empty": lambda path, _: path.write_bytes(b"") and None,
    "zeros": lambda path, _: path.write_bytes(bytes(99)) and None,
    "a name that is not UTF-8": _unreadable_name,
}
file_kinds = st.sampled_from(sorted(FILE_KINDS))


def is_link(content: bytes | str) -> bool:
    """Whether `put` makes a link: in a data folder it is the user's, and may be followed."""
    return isinstance(content, str) and "link" in content


def put(path: Path, content: bytes | str, outside: Path) -> None:
    """Make a file at `path` of these bytes, or of a kind of `FILE_KINDS`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):  # to write to an earlier FIFO waits, to a link goes elsewhere
        path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        FILE_KINDS[content](path, outside)
