"""The commands beside a run: tune, check a method, export, count parameters, pretrain.

Each gives the lines to be shown as it goes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

import methods
from bench.config.backbone import canonical_name
from bench.config.recipe import load_recipe
from bench.execution import selection
from bench.execution.export import ExportedFile, cell_of_record, export_merged, export_trained
from bench.models import backbones, method_checks
from bench.performance import method_cost, parameter_counts
from bench.records import store
from bench.training import pretraining
from bench.utils import files
from bench.utils.errors import UserError
from methods import Unsupported

KEPT, BROKEN = "kept  ", "broken"


def check_method(name: str) -> Iterator[str]:
    """Hold a registered method to the contract."""
    selection.require_known_methods([name])
    for sentence, problem in method_checks.run_checks(methods.create(name)):
        yield f"{BROKEN if problem else KEPT} {sentence}"
        if problem:
            yield f"       {problem}"


def export(
    record: Path, out: Path | None, merged: Path | None, root: Path, device: str
) -> Iterator[str]:
    """Write what a record's cell trains; with `merged`, a plain model, too."""
    found = store.read_record(record)
    cell = cell_of_record(found, root, device)
    small = out or Path(f"{found.cell}.safetensors")
    where = torch.device(device)
    try:
        yield _written(export_trained(cell, small, where, lambda *_: None))
    except Unsupported as error:
        raise UserError(f"cell {found.cell} has nothing to export: {error}") from None
    if merged:
        try:
            yield _written(export_merged(cell, small, merged, where))
        except Unsupported as error:
            raise UserError(f"{found.settings.method} cannot be merged: {error}") from None
    if found.outcome:
        yield f"the record says {found.outcome.accuracy:.2f} %"


def _written(file: ExportedFile) -> str:
    return f"{file.path}: {file.num_bytes:,} bytes; read back, {file.accuracy:.2f} % on test"


def cost(
    names: Sequence[str],
    backbones_: Sequence[str],
    work: tuple[str, int, str],
    rounds: int,
    results: Path,
) -> Iterator[str]:
    """Measure methods on the same work: a recipe's name, a batch size and a device."""
    recipe, batch, device = work
    chosen = selection.require_known_methods(names)
    if batch < 1 or rounds < 1:
        raise UserError(f"batch and rounds must be at least 1; got {batch} and {rounds}")
    load_recipe(recipe)
    for name in backbones_:
        yield from backbones.find(name).notes
    found = []
    threads = torch.get_num_threads()
    for backbone in dict.fromkeys(map(canonical_name, backbones_)):
        jobs = [
            method_cost.CostJob(name, backbone, recipe, batch, device, threads) for name in chosen
        ]
        for line in method_cost.measure_costs(jobs, rounds):
            if isinstance(line, str):
                yield line
                continue
            found.append(line)
            yield (
                f"{line.method} on {backbone}: {line.train_step_ms:.1f} ms a step, "
                f"{line.test_batch_ms:.1f} ms a test batch, {line.peak_memory_mb:.0f} MiB, "
                f"{line.stored_bytes:,} bytes stored"
            )
    yield str(method_cost.write_csv(found, results))


def parameters(results: Path) -> Iterator[str]:
    """Write the ledger of trainable parameters."""
    path = results / "parameters.md"
    files.write_atomically(path, parameter_counts.markdown_page().encode())
    yield str(path)


def pretrain(
    objective: str, size: str, images: Path, out: Path, epochs: int | None, seed: int
) -> Iterator[str]:
    """Pretrain a small backbone, a line an epoch."""
    if not images.is_dir():
        raise UserError(f"no folder of images at {images}")
    for epoch in pretraining.pretrain(objective, size, images, out, epochs, seed):
        yield f"epoch {epoch.number}: loss {epoch.loss:.4f}, {epoch.seconds:.0f} s"
