"""The further test sets of a task: their loading, and the digest of one as records name it."""

import hashlib
from pathlib import Path

import torch

from bench.config.suite import Shift, Suite, Task
from bench.data import locations, splits
from bench.data.drawn import shifts as drawn_shifts
from bench.data.splits import Examples
from bench.records.schema import SYNTHETIC
from bench.utils.errors import UserError


def load_shift(
    suite: Suite, task: Task, shift: Shift, root: Path, variant: str | None = None
) -> Examples:
    """Load a further test set of a task; its images are checked but not decoded.

    Raises `UserError` as `splits.load_split` does, and for labels that its classes do not hold.
    """
    if shift.drawn:
        return _draw(suite, task, shift, root, variant)
    as_task = shift.as_task(task)
    if locations.find(suite, as_task, root, variant).variant == SYNTHETIC:
        return splits.to_be_drawn(as_task, "test", shift.classes or range(task.classes))
    examples = splits.load_split(suite, as_task, "test", root, variant)
    _require_labels(shift, examples)
    return examples


def _draw(suite: Suite, task: Task, shift: Shift, root: Path, variant: str | None) -> Examples:
    """Return the task's own test images, changed: those of the shift's classes."""
    test = splits.load_split(suite, task, "test", root, variant)
    if shift.classes:
        kept = torch.isin(test.labels, torch.tensor(shift.classes))
        test = splits.subset(test, kept.nonzero()[:, 0])
    assert test.pixels is not None, "a drawn shift suits embedded tasks alone"
    images = test.pixels.permute(0, 2, 3, 1).numpy()  # (B, H, W, 3)
    changed = drawn_shifts.change(shift.drawn, shift.strengths[0], images, test.labels.tolist())
    pixels = torch.from_numpy(changed).permute(0, 3, 1, 2).contiguous()  # (B, 3, H, W)
    return Examples(test.labels, pixels)


def _require_labels(shift: Shift, examples: Examples) -> None:
    """Raise `UserError` for an image of a class that the shift's scores leave out."""
    if shift.classes is None:
        return
    outside = sorted(set(examples.labels.tolist()) - set(shift.classes))
    if outside:
        index = int((examples.labels == outside[0]).nonzero()[0, 0])
        raise UserError(
            f"E-LABEL {shift.name}: {examples.origins[index]}: label {outside[0]} is none of the "
            f"{len(shift.classes)} classes that scores on {shift.name} are restricted to"
        )


def name_digest(shift: Shift, images: str) -> str:
    """Return what a record names a set by: the digest of its images, and of a mask's classes."""
    if shift.classes is None:
        return images
    classes = " ".join(map(str, sorted(shift.classes)))
    return f"{images}-{hashlib.sha256(classes.encode()).hexdigest()[:16]}"
