"""A user's own file of methods joins the registry."""

import sys
from collections.abc import Iterable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import methods
from methods.shared import source_hash
from methods.shared.registry import registering_plugin

MODULE_PREFIX = "bench_plugin_"  # of the modules' names


def load_plugins(paths: Iterable[Path]) -> list[str]:
    """Run each file, which registers what it holds; a sentence for each that fails."""
    return [problem for path in paths if (problem := _load_file(path))]


def loaded_files() -> list[Path]:
    """The files whose methods are in the registry."""
    found = [module for name, module in sys.modules.items() if name.startswith(MODULE_PREFIX)]
    return [Path(module.__file__).resolve() for module in found if module.__file__]


def _load_file(path: Path) -> str | None:
    name = f"{MODULE_PREFIX}{path.stem}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        return f"the plug-in {path} is not a Python file that is there"
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look their module up by name
    before = set(methods.names())
    try:
        with registering_plugin(source_hash.hash_file(path)):
            spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file raises: it must not take the rest with it
        del sys.modules[name]
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
        return f"the plug-in {path} was left out: {type(error).__name__}: {error}{line}"
    if set(methods.names()) == before:
        return f"the plug-in {path} registers no method"
    return None
