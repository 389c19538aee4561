"""The command line: a file per command, with its options, its call and what it prints.

A command's file imports at its top what it needs. So that `--help` takes no time, `lazy_imports`
puts off loading such a module until something of it is used: the file names modules
(``from bench.records import store``), not what is in them, unless they are light.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from importlib.util import LazyLoader
from types import ModuleType


class _LazyFinder:
    """Finds modules as the other finders do, and lets them be executed at their first use."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] in sys.stdlib_module_names or name.startswith(__name__):
            return None  # light, or needed at once
        for finder in sys.meta_path:
            spec = None if finder is _LazyFinder else finder.find_spec(name, path, target)
            if spec:
                if spec.loader and hasattr(spec.loader, "exec_module"):
                    spec.loader = LazyLoader(spec.loader)
                return spec
        return None


@contextmanager
def lazy_imports() -> Iterator[None]:
    """Within it, import modules other than the standard library's without executing them yet."""
    sys.meta_path.insert(0, _LazyFinder)
    try:
        yield
    finally:
        sys.meta_path.remove(_LazyFinder)
