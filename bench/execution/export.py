"""Export of a cell's model: its trained tensors alone, merged into timm's model, or as PEFT's."""

from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

from bench.execution import peft_export, plan
from bench.execution.model_card import create_model_call, model_card
from bench.execution.request import request_from_json
from bench.models import backbones, weight_files
from bench.records.schema import Record
from bench.training import runner, trainer
from bench.training.callbacks import ProgressCallback
from bench.training.cell import Cell, make_test_loader
from bench.utils.errors import UserError
from methods import Unsupported
from methods.shared.base import Model
from methods.shared.merge import merge_adapters


@dataclass(frozen=True)
class ExportedFile:
    """An exported file, and the test accuracy of the model read back from it."""

    path: Path
    num_bytes: int
    accuracy: float


def require_real(record: Record) -> None:
    """Raise `UserError` for a rehearsal, whose model says nothing."""
    if record.settings.is_synthetic:
        raise UserError(f"cell {record.cell} is of synthetic images; real ones were expected")


def cell_of_record(record: Record, root: Path, device: str) -> Cell:
    """Rebuild the cell of a record from its names.

    Raises `UserError` where this checkout, or this machine, would run it under other settings.
    """
    cell = plan.plan_cells(request_from_json(record.request, root, device))[0]
    if cell.settings.digest() != record.cell:
        raise UserError(f"this checkout runs cell {record.cell} as {cell.settings.digest()}")
    return cell


def export_trained(
    cell: Cell, out: Path, device: torch.device, progress: ProgressCallback
) -> ExportedFile:
    """Train the cell, write its trained tensors, and evaluate what is read back on test."""
    done = runner.train(cell, device, progress)
    out.parent.mkdir(parents=True, exist_ok=True)
    tensors = weight_files.stored_tensors(cell.method, done.model, done.backbone_tensor_ids)
    save_file(tensors, out, metadata={"cell": cell.settings.digest()})
    return _evaluate(cell, load_trained(cell, out), out, device)


def load_trained(cell: Cell, path: Path) -> Model:
    """Load the cell's model with the tensors of the file at `path`; needs no data."""
    torch.manual_seed(cell.settings.seed)
    model = backbones.load(cell.backbone, cell.task.classes, cell.recipe)
    cell.method.attach(model)
    tensors = cell.method.unpack(model, weight_files.read(path))
    weight_files.load_adapter_state(model, tensors)
    return model.eval()


def export_merged(cell: Cell, path: Path, out: Path, device: torch.device) -> ExportedFile:
    """Merge the method of the file at `path` into a plain timm model, and write all its weights.

    They are a checkpoint for `timm.create_model`, with a model card beside it. Raises `Unsupported`
    where the method's mathematics does not allow it.
    """
    model = load_trained(cell, path)
    merge_adapters(model)
    plain = backbones.build(cell.backbone, cell.task.classes)
    _require_same_shapes(model, plain)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        weights, out, metadata={"cell": cell.settings.digest(), "timm": cell.backbone.card.timm}
    )
    name, options = backbones.timm_arguments(cell.backbone.card, cell.backbone.input)
    read = timm.create_model(
        name, num_classes=cell.task.classes, checkpoint_path=str(out), **options
    )
    done = _evaluate(cell, read.eval(), out, device)
    loading = f"import timm\n\nmodel = {create_model_call(cell, checkpoint_path=out.name)}"
    card = model_card(cell, done.accuracy, "timm", loading)
    out.with_suffix(".md").write_text(card, encoding="utf-8")
    return done


def export_peft(cell: Cell, path: Path, folder: Path, device: torch.device) -> ExportedFile:
    """Write the file at `path`, of a method of peft's, as PEFT's own adapter with a model card.

    Raises `Unsupported` where PEFT loads a model that scores otherwise.
    """
    loaded = peft_export.save_adapter(cell, load_trained(cell, path), folder)
    done = _evaluate(cell, loaded, folder / "adapter_model.safetensors", device)
    weights = f"the backbone's weights, sha256 {cell.backbone.sha256}"
    loading = (
        "import timm\nfrom peft import PeftModel\n\n"
        f"base = {create_model_call(cell)}\n# load {weights}, into base\n"
        f"model = PeftModel.from_pretrained(base, {folder.name!r})"
    )
    card = model_card(cell, done.accuracy, "peft", loading)
    (folder / "README.md").write_text(card, encoding="utf-8")
    return done


def _require_same_shapes(model: Model, plain: Model) -> None:
    """Raise `Unsupported` where a merged model holds other tensors than timm's own."""
    merged, expected = (
        {name: tuple(tensor.shape) for name, tensor in one.state_dict().items()}
        for one in (model, plain)
    )
    other = sorted(dict(merged.items() ^ expected.items()))
    if other:
        raise Unsupported(f"{', '.join(other[:3])} differ from those of timm's own model")


def _evaluate(cell: Cell, model: Model, path: Path, device: torch.device) -> ExportedFile:
    loader = make_test_loader(cell, device)
    precision = cell.settings.recipe["precision"]
    result = trainer.evaluate(backbones.move_to_device(model, device), loader, precision)
    return ExportedFile(path, path.stat().st_size, result.accuracy)
