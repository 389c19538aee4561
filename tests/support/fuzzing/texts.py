"""Checks that the tables of a command hold no formulas, markup or control characters."""

import csv
import io
import re
from pathlib import Path

from support.fuzzing.commands import CONTROLS
from support.fuzzing.sandbox import MAX_HASHED

ENDINGS = {".csv", ".md", ".html", ".tex", ".svg"}
FORMULA = re.compile(r"[=+@\t\r]|-[^\d.]")  # how a cell begins that a spreadsheet computes
SCRIPT = re.compile("<script.*?</script>", re.DOTALL)  # the page's libraries
# of `odd.NAMES`, as a reader of the format would take them for more than text
ACTIVE = {
    ".md": ("![x](", " [x](y)", "<script", "<b>bold"),
    ".html": ("</script", "<b>bold", "<img src=x"),
    ".tex": ("\\input{x}", " $x$"),
}


def require_harmless(results: Path) -> None:
    """No control characters in any table, no formula, and no markup that a name brought along."""
    for path in (path for ending in ENDINGS for path in results.rglob(f"*{ending}")):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_HASHED:
            continue
        text = SCRIPT.sub("", path.read_text(encoding="utf-8", errors="replace"))
        found = CONTROLS.search(text)
        assert not found, f"{found} in {path}"
        for markup in ACTIVE.get(path.suffix, ()):
            assert markup not in text, f"{markup} in {path}"
        if path.suffix == ".csv":
            cells = [cell for line in csv.reader(io.StringIO(text)) for cell in line]
            formulas = [cell for cell in cells if FORMULA.match(cell)]
            assert not formulas, f"{formulas} in {path}"
