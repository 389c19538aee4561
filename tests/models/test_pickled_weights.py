"""Pickled checkpoints: what stands beside the weights is read as nothing, and no code is run."""

import argparse
import collections
import datetime
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from bench.models import pickled_weights, weight_files
from bench.utils.errors import UserError

WEIGHTS = {"a": torch.arange(4.0)}


def invented(monkeypatch: pytest.MonkeyPatch, name: str, *bases: type) -> Any:
    """A class as of a package that is not installed here."""
    package, _, own = name.rpartition(".")
    made = type(own, bases or (object,), {"__module__": package, "__qualname__": own})
    for i in range(package.count(".") + 1):
        part = ".".join(package.split(".")[: i + 1])
        monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
    setattr(sys.modules[package], own, made)
    return made


def defaults() -> Any:
    made = collections.defaultdict(list)
    made["x"].append(1)
    return made


BESIDE: dict[str, Callable[[], Any]] = {
    "options": lambda: argparse.Namespace(lr=0.1, betas=(0.9, 0.95), data=Path("data")),
    "a number of NumPy's": lambda: np.float64(0.5),
    "an array": lambda: np.arange(3),
    "a type of NumPy's": lambda: np.dtype("float32"),
    "a path": lambda: Path("a/b"),
    "a default table": defaults,
    "a queue": lambda: collections.deque([1, 2]),
    "a counter": lambda: collections.Counter("abc"),
    "a date": lambda: datetime.datetime(2022, 3, 23),
    "a namespace": lambda: types.SimpleNamespace(x=1, y=[np.int64(3)]),
    "torch's version": lambda: torch.__version__,
    "classes": lambda: [int, float, str, list, dict],
    "sets": lambda: {1, 2},
    "a device": lambda: torch.device("cpu"),
    "a type": lambda: torch.float16,
}


@pytest.mark.parametrize("make", BESIDE.values(), ids=BESIDE)
def test_values_beside_the_weights_are_read_past(tmp_path: Path, make: Callable[[], Any]) -> None:
    path = tmp_path / "w.pth"
    torch.save({"model": WEIGHTS, "beside": make(), "more": {"deep": [make()]}}, path)
    found = weight_files.read(path)
    assert found.keys() == {"model.a"}
    assert torch.equal(found["model.a"], WEIGHTS["a"])


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("yacs.config.CfgNode", dict),
        ("pytorch_lightning.utilities.parsing.AttributeDict", dict),
        ("omegaconf.dictconfig.DictConfig", object),
        ("easydict.EasyDict", dict),
    ],
)
@pytest.mark.parametrize("is_legacy", [False, True], ids=["zip", "legacy"])
def test_the_configuration_of_a_package_that_is_not_here_is_read_past(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, base: type, is_legacy: bool
) -> None:
    path = tmp_path / "w.pth"
    with monkeypatch.context() as patch:
        config = invented(patch, name, base)()
        config.__dict__["_content"] = {"lr": 0.1}
        if base is dict:
            config["lr"] = 0.1
        content = {"state_dict": WEIGHTS, "cfg": config}
        torch.save(content, path, _use_new_zipfile_serialization=not is_legacy)
    assert name.partition(".")[0] not in sys.modules
    assert weight_files.read(path).keys() == {"state_dict.a"}


def test_a_stand_in_keeps_nothing_of_what_it_is_given() -> None:
    made = pickled_weights.StandIn("a", 1)
    made.__setstate__({"secret": 1})
    assert not vars(made)


@pytest.mark.parametrize("is_legacy", [False, True], ids=["zip", "legacy"])
def test_a_whole_module_is_called_one(tmp_path: Path, is_legacy: bool) -> None:
    path = tmp_path / "w.pth"
    for content in (timm.create_model("test_vit"), {"model": torch.nn.Linear(2, 2)}):
        torch.save(content, path, _use_new_zipfile_serialization=not is_legacy)
        with pytest.raises(UserError) as error:
            weight_files.read(path)
        says = str(error.value)
        assert "it holds code of a whole module, t" in says
        assert says.endswith("is not run here; a file of the state_dict() alone is read")
        assert says.isprintable()  # no escape codes of a terminal


def test_an_object_of_any_other_class_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.pth"
    with monkeypatch.context() as patch:
        torch.save({"model": WEIGHTS, "x": invented(patch, "somebody.tools.Thing")()}, path)
    with pytest.raises(UserError, match=r"it holds code, somebody\.tools\.Thing, which is not run"):
        weight_files.read(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError) as error:
        weight_files.read(path)
    assert str(error.value).isprintable()


def test_tables_in_themselves_end(tmp_path: Path) -> None:
    loop: dict[str, Any] = {"a": torch.ones(1)}
    loop |= {f"again{i}": loop for i in range(50)}
    path = tmp_path / "w.pth"
    torch.save(loop, path)
    found = weight_files.read(path)
    assert torch.equal(found["a"], torch.ones(1))
    assert len(found) < 10
