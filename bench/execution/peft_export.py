"""Export of a cell of peft's as PEFT's own adapter, which `PeftModel.from_pretrained` loads."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from bench.models import backbones, compatibility
from bench.training.cell import Cell
from bench.utils import files
from bench.utils.errors import first_line
from methods import Unsupported
from methods.shared.base import Model
from methods.shared.merge import logits_on_noise
from methods.shared.structure import head_names

FILES = "adapter_config.json", "adapter_model.safetensors"
ADAPTER, WRAPPED = "default", "base_model.model."
RELATIVE_TOLERANCE = 1e-5  # of the largest score: the same sums, in another order at most


def require_adapter(cell: Cell) -> None:
    """Raise `Unsupported` unless the cell's method is PEFT's own; looked up without weights."""
    with torch.device("meta"):
        model = backbones.build(cell.backbone, cell.task.classes).requires_grad_(False)
        error = compatibility.try_attach(cell.method, model)
    if error:
        raise error
    _config_of(model)


def _config_of(model: Model) -> Any:
    configs = getattr(model, "peft_config", {})
    if ADAPTER not in configs:
        raise Unsupported("only the methods called peft_... are PEFT's own")
    return deepcopy(configs[ADAPTER])


def save_adapter(cell: Cell, model: Model, folder: Path) -> Model:
    """Write the trained `model` as PEFT's adapter; return it as PEFT loads it.

    Raises `Unsupported`, and leaves the folder as it is, where the loaded model scores otherwise.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent) as written:
        _write(cell, model, Path(written))
        loaded = load_adapter(cell, model, Path(written))
        files.write_files(folder, {name: Path(written, name).read_bytes() for name in FILES})
    return loaded


def _write(cell: Cell, model: Model, folder: Path) -> None:
    import peft  # slow to import

    config = _config_of(model)
    config.modules_to_save = head_names(model)
    with _unsupported_errors(), _no_warnings():
        wrapped = peft.get_peft_model(_plain(cell), config, ADAPTER)
        wrapped.load_state_dict(_renamed(_state(model), config.modules_to_save), strict=False)
        wrapped.save_pretrained(folder)


def load_adapter(cell: Cell, model: Model, folder: Path) -> Model:
    """Load an adapter folder as PEFT does; raises `Unsupported` if its logits differ from `model`.

    `model` is the exported model.
    """
    import peft

    with _unsupported_errors(), _no_warnings():
        loaded = peft.PeftModel.from_pretrained(_plain(cell), folder).eval()
        wanted, found = _scores(model.eval()), _scores(loaded.get_base_model())
    apart, most = (found - wanted).abs().max(), wanted.abs().max()
    if not apart <= RELATIVE_TOLERANCE * most:
        raise Unsupported(
            f"the model that PEFT loads gives other logits, by {apart:.3g} with logits up to "
            f"{most:.3g}: timm reads the weight of a layer that PEFT replaces; use --merged instead"
        )
    return loaded


def _plain(cell: Cell) -> Model:
    """Return the pretrained timm model, with a head that is yet to be loaded."""
    return backbones.load(cell.backbone, cell.task.classes, cell.recipe)


def _state(model: Model) -> dict[str, Tensor]:
    """Return the model's tensors; those of a layer of peft's within another module, as if alone."""
    state = model.state_dict()
    for name, module in model.named_modules():
        if hasattr(getattr(module, "layer", None), "get_base_layer"):
            inside = f"{name}.layer."
            state = {n.replace(inside, f"{name}."): tensor for n, tensor in state.items()}
    return state


def _renamed(state: dict[str, Tensor], heads: list[str]) -> dict[str, Tensor]:
    """Return the tensors under PEFT's names: of its model, and of the heads that it saves."""
    renamed = {}
    for name, tensor in state.items():
        head = next((h for h in heads if name.startswith(f"{h}.")), None)
        own = f"{head}.modules_to_save.{ADAPTER}{name.removeprefix(head)}" if head else name
        renamed[f"{WRAPPED}{own}"] = tensor
    return renamed


def _scores(model: Model) -> Tensor:
    return logits_on_noise(model).float().cpu()


@contextmanager
def _unsupported_errors() -> Iterator[None]:
    """Raise what PEFT raises as `Unsupported`, in a sentence."""
    try:
        yield
    except Exception as error:  # PEFT raises many kinds
        what = f"{type(error).__name__}: {first_line(error)}"
        raise Unsupported(f"PEFT cannot write or load it: {what}") from error


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Suppress what PEFT warns of: the effects of options, and the lack of a language model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
