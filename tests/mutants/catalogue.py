"""The faults, as the TOML files beside this one list them: a file a subject."""

import ast
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PARSERS: dict[str, Callable[[str], object]] = {".py": ast.parse, ".toml": tomllib.loads}


@dataclass(frozen=True)
class Fault:
    """A small change that makes the code wrong, and the test files that should notice."""

    subject: str
    says: str  # what is wrong, in plain words
    file: str  # from the root of the checkout
    find: str  # occurs exactly once in the file
    put: str  # stands in its place
    tests: tuple[str, ...]  # below tests/; one may go on with ``::`` and a test's name

    def applied(self, root: Path = ROOT) -> str:
        """The file's text with the fault; raises `ValueError` where it cannot be put in."""
        path = root / self.file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        count = text.count(self.find)
        if count != 1:
            raise ValueError(f"{self.file} has the text {count} times, not once: {self.find!r}")
        faulty = text.replace(self.find, self.put)
        try:
            PARSERS[path.suffix](faulty)
        except (SyntaxError, tomllib.TOMLDecodeError) as error:
            raise ValueError(f"{self.file} cannot be parsed with {self.put!r}: {error}") from None
        return faulty

    def lacking(self) -> list[str]:
        """The test files named that are not there."""
        return [name for name in self.tests if not _file(name).is_file()]


def _file(name: str) -> Path:
    return ROOT / "tests" / name.partition("::")[0]


def subjects() -> list[str]:
    """The subjects by which the faults are grouped."""
    return sorted(path.stem for path in HERE.glob("*.toml"))


def faults(subject: str) -> list[Fault]:
    """The faults of a subject in the order of its file; its `tests` serve those that name none."""
    table = tomllib.loads((HERE / f"{subject}.toml").read_text(encoding="utf-8"))
    usual = table.get("tests", [])
    return [
        Fault(subject, one["says"], one["file"], one["find"], one["put"], tuple(named))
        for one in table["fault"]
        for named in [one.get("tests", usual)]
    ]
