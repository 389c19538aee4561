"""The methods under comparison, one file per method or family of methods.

A file ends by registering its methods under their names; every file of this folder is imported, so
that adding a method means adding a file. `methods.shared` holds the building blocks that several
methods use. Other packages register methods through the entry-point group ``bench.methods``.
"""

import warnings
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules

from methods.shared import families  # noqa: F401  (registers the structure of each family)
from methods.shared.base import Method, Unsupported
from methods.shared.registry import (
    code,
    create,
    names,
    refusal,
    register,
    registering_plugin,
    remark,
)
from methods.shared.source_hash import hash_entry_point

__all__ = ["Method", "Unsupported", "code", "create", "names", "refusal", "register", "remark"]

for _module in iter_modules(__path__):
    if not _module.ispkg:
        import_module(f"{__name__}.{_module.name}")

for _entry in entry_points(group="bench.methods"):
    try:
        with registering_plugin(hash_entry_point(_entry)):
            _entry.load()
    except (Exception, SystemExit) as error:  # a broken plug-in must not break the others
        warnings.warn(f"the method plug-in {_entry.value!r} was left out: {error}", stacklevel=2)
