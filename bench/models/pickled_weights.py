"""Pickled checkpoints, read without running their code: only tensors and plain values.

Checkpoints contain more than weights: training options, NumPy scalars, paths. The classes listed
here carry values and no weights; each is replaced by a stand-in that keeps nothing, and the class
itself is never imported. Any other class is refused by name.
"""

import re
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from bench.utils.errors import UserError


class StandIn:
    """Read in place of an object: takes any argument and any state, and keeps nothing."""

    def __new__(cls, *_args: Any) -> "StandIn":
        return super().__new__(cls)

    def __init__(self, *_args: Any) -> None: ...

    def __setstate__(self, _state: Any) -> None: ...


class TableStandIn:
    """Read in place of a subclass of `dict`: an `OrderedDict`, which torch fills."""

    def __new__(cls, *_args: Any) -> Any:
        return OrderedDict()


class ListStandIn(list[Any]):
    """Read in place of a subclass of `list`."""

    def __new__(cls, *_args: Any) -> "ListStandIn":
        return super().__new__(cls)

    def __init__(self, *_args: Any) -> None: ...

    def __setstate__(self, _state: Any) -> None: ...


INERT: dict[type, tuple[str, ...]] = {
    StandIn: (
        "argparse.Namespace",
        "copyreg._reconstructor",
        "datetime.date",
        "datetime.datetime",
        "datetime.timedelta",
        "decimal.Decimal",
        "fractions.Fraction",
        "types.SimpleNamespace",
        "typing.Any",
        "uuid.UUID",
        *(f"builtins.{name}" for name in ("bool", "bytes", "dict", "float", "frozenset", "int")),
        *(f"builtins.{name}" for name in ("list", "object", "range", "slice", "str", "tuple")),
        *(f"pathlib.{name}" for name in ("Path", "PosixPath", "WindowsPath")),
        *(f"pathlib.Pure{name}" for name in ("Path", "PosixPath", "WindowsPath")),
        *(f"pathlib._local.{name}" for name in ("Path", "PosixPath", "WindowsPath")),
        *(f"numpy.core.multiarray.{name}" for name in ("_reconstruct", "scalar")),
        *(f"numpy._core.multiarray.{name}" for name in ("_reconstruct", "scalar")),
        *(f"numpy.{name}" for name in ("dtype", "ndarray", "bool_", "float16", "float32")),
        *(f"numpy.{name}" for name in ("float64", "int8", "int16", "int32", "int64", "uint8")),
        "torch.torch_version.TorchVersion",
        "omegaconf.base.ContainerMetadata",
        "omegaconf.base.Metadata",
        "omegaconf.dictconfig.DictConfig",
        "omegaconf.listconfig.ListConfig",
        *(f"omegaconf.nodes.{name}Node" for name in ("Any", "Boolean", "Float", "Integer")),
        "omegaconf.nodes.StringNode",
    ),
    TableStandIn: (
        "collections.defaultdict",
        "addict.addict.Dict",
        "easydict.EasyDict",
        "fvcore.common.config.CfgNode",
        "lightning_fabric.utilities.data.AttributeDict",
        "lightning.fabric.utilities.data.AttributeDict",
        "mmcv.utils.config.ConfigDict",
        "mmengine.config.config.ConfigDict",
        "munch.Munch",
        "pytorch_lightning.utilities.parsing.AttributeDict",
        "yacs.config.CfgNode",
    ),
    ListStandIn: ("collections.deque",),
}
ALLOWED: list[Any] = [(kind, name) for kind, names in INERT.items() for name in names]

_ESCAPE_CODES = re.compile(r"\x1b\[[0-9;]*m")
_REFUSED_CLASS = re.compile(r"GLOBAL ([\w.]+)")
_REASON = re.compile(r"WeightsUnpickler error: *(.+)")
_WHOLE_MODULES = ("torch.nn.", "timm.", "torchvision.", "transformers.", "open_clip.", "__main__.")


def read(path: Path) -> Any:
    """Read a file of `torch.save`; raises `UserError` for a damaged one and for one with code."""
    with torch.serialization.safe_globals(ALLOWED), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of another version of pickle: an error says that, too
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # the unpickler may raise any kind for a damaged file
            raise UserError(f"{path} cannot be read as weights: {_explain(error)}") from None


def _explain(error: Exception) -> str:
    """Say in a clause why a file could not be read."""
    text = _ESCAPE_CODES.sub("", str(error))
    refused, reason = _REFUSED_CLASS.search(text), _REASON.search(text)
    if not refused:
        return reason[1] if reason else text.strip().partition("\n")[0] or type(error).__name__
    name = refused[1].rstrip(".")
    module = " of a whole module" if name.startswith(_WHOLE_MODULES) else ""
    return (
        f"it holds code{module}, {name}, which is not run here; a file of the state_dict() alone "
        "is read"
    )
