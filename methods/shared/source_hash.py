"""Hash of the source code of a plug-in, with everything of the user's own that it imports."""

import ast
import hashlib
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path

PACKAGES_ROOT = Path(__file__).resolve().parent.parent.parent
LIBRARY_DIRS = tuple(
    Path(path).resolve()
    for name, path in sysconfig.get_paths().items()
    if name in ("stdlib", "platstdlib", "purelib", "platlib")
)
# also the user's, those of the interpreter below an environment, and those linked from a cache
INSTALL_DIRS = {"site-packages", "dist-packages"}


def hash_file(path: Path) -> str:
    """Return the sha256 of a file and of the files it imports outside installed packages."""
    return _combined_sha256(sorted(_transitive_sources(path.resolve())))


def hash_entry_point(entry: EntryPoint) -> str:
    """Return the sha256 of an entry point's package, followed by its distribution and version."""
    spec = find_spec(entry.module.partition(".")[0])
    files = sorted(_package_files(Path(spec.origin))) if spec and spec.origin else []
    about = (entry.dist.name, entry.dist.version) if entry.dist else ()
    return " ".join((_combined_sha256(files), *about))


def _combined_sha256(files: Iterable[Path]) -> str:
    """Return the sha256 of one file, as by sha256sum, or the hash of several files' hashes."""
    found = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return found[0] if len(found) == 1 else hashlib.sha256("\n".join(found).encode()).hexdigest()


def _transitive_sources(path: Path) -> set[Path]:
    """Collect a file and all it imports, anywhere in the code, except ours and libraries'."""
    found, waiting = set[Path](), [path]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += [more for name in _imported_packages(file) for more in _user_files(name)]
    return found


def _imported_packages(path: Path) -> Iterator[str]:
    """Yield the top-level package of each import of a file."""
    try:
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
    except (SyntaxError, ValueError):  # running it will report the error
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _user_files(name: str) -> Iterable[Path]:
    """Return the sources of a module, or of its whole package, if they are the user's own."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):  # a module without a spec, such as __main__
        return []
    origin = Path(spec.origin) if spec and spec.has_location and spec.origin else None
    if origin is None or INSTALL_DIRS & {*origin.parts} or _is_library(origin.resolve()):
        return []
    return _package_files(origin.resolve())


def _package_files(origin: Path) -> Iterable[Path]:
    return origin.parent.rglob("*.py") if origin.name == "__init__.py" else [origin]


def _is_library(path: Path) -> bool:
    ours = any(path.is_relative_to(PACKAGES_ROOT / name) for name in ("bench", "methods"))
    return ours or path.suffix != ".py" or any(map(path.is_relative_to, LIBRARY_DIRS))
