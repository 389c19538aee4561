"""Files of sources as published, and tables of prepared data, with something odd about them."""

import tarfile
import zipfile
from pathlib import Path

from hypothesis import strategies as st

from support.fuzzing import archives, odd

FIELDS = (
    "",
    "-1",
    "0",
    "1",
    "99999999999999999999",
    "../../x",
    "/etc/passwd",
    "x",
    "1e3",
    "\x1b[1m",
)


def odd_file(path: Path) -> st.SearchStrategy[bytes | str]:
    """The content of a published file, damaged, or something odd in its place."""
    content = odd.Content(path.read_bytes())
    strategies = [odd.damaged(content), odd.file_kinds]
    if zipfile.is_zipfile(path):
        strategies += [archives.odd_zips(archives.read_zip(path))] * 2
    elif tarfile.is_tarfile(path):
        strategies += [archives.odd_tars(archives.read_tar(path))] * 2
    return st.one_of(strategies)


@st.composite
def odd_table(draw: st.DrawFn, content: bytes) -> bytes:
    """A table of tabs and lines with one field of one line changed."""
    lines = content.decode().splitlines()
    number = draw(st.integers(0, len(lines) - 1))
    fields = lines[number].split("\t")
    fields[draw(st.integers(0, len(fields) - 1))] = draw(
        st.one_of(st.sampled_from(FIELDS), odd.names)
    )
    lines[number] = "\t".join(fields)
    return "\n".join([*lines, ""]).encode("utf-8", "surrogatepass")
