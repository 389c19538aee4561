"""New digests of cells in other files that name them: those of ensembles and interpolations."""

import re
from collections.abc import Mapping
from pathlib import Path

from bench.records.ensembles import ENSEMBLES_DIR, ensemble_name
from bench.records.interpolations import INTERPOLATION_DIR
from bench.utils.files import write_atomically

DIGEST = re.compile(rb"\b[0-9a-f]{16}\b")


def rename_cells(results: Path, new_names: Mapping[str, str]) -> None:
    """Write new digests for old ones in the files of ensembles and interpolations, and rename."""
    known = {old.encode(): new.encode() for old, new in new_names.items()}
    for path in sorted((results / INTERPOLATION_DIR).glob("*.*")):
        name = _renamed(path.name.encode(), known).decode()
        _replace(path, name, _renamed(path.read_bytes(), known))
    for path in sorted((results / ENSEMBLES_DIR).glob("*.csv")):
        content = _renamed(path.read_bytes(), known)
        cells = {cell.decode() for cell in DIGEST.findall(content)}
        _replace(path, f"{ensemble_name(cells)}.csv", content)


def _renamed(content: bytes, known: Mapping[bytes, bytes]) -> bytes:
    return DIGEST.sub(lambda found: known.get(found[0], found[0]), content)


def _replace(path: Path, name: str, content: bytes) -> None:
    """Replace a file by one of that name and content, unless it already is that."""
    if name == path.name and content == path.read_bytes():
        return
    write_atomically(path.with_name(name), content)
    if name != path.name:
        path.unlink()
