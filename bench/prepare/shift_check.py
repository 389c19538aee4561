"""Checks of the further test sets of a task before a run: their images, labels and digests."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.config.suite import Shift, Suite, Task, card_folder, load_source
from bench.data import locations, prepared, shifts, splits
from bench.data.splits import Examples
from bench.prepare.integrity import MAX_DUPLICATE_SHARE
from bench.records.entries import MAX_IMAGES
from bench.utils.errors import UserError


@dataclass
class CheckedShifts:
    """The digest of each further test set, as recorded, and warnings about them."""

    digests: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def check_shifts(
    suite: Suite,
    task: Task,
    trained: Sequence[str],
    root: Path,
    variant: str | None,
    given: str | None,
) -> CheckedShifts:
    """Read and check every further test set of a task.

    `trained` are the hashes of the images trained on; `given` is the suite as the request names
    it. Raises `UserError` for the first set that is absent or breaks the rules for data.
    """
    found = CheckedShifts()
    for shift in suite.shifts_of(task):
        examples = shifts.load_shift(suite, task, shift, root, variant)
        if len(examples) > MAX_IMAGES:
            raise UserError(
                f"the shift {shift.name} has {len(examples):,} images; {MAX_IMAGES:,} is the most "
                "that a record can be of"
            )
        place = None
        if not shift.drawn:
            place = locations.find(suite, shift.as_task(task), root, variant)
        folder = place.folder if place else None
        mark = _mark(place, variant)
        digest = splits.checked_digest(examples, folder)
        found.digests[shift.name] = shifts.name_digest(shift, f"{mark}{digest}")
        found.warnings += _require_apart(
            shift, image_hashes(examples, folder), trained, _has_repeats(shift, given or suite.name)
        )
    return found


def _mark(place: locations.DataLocation | None, variant: str | None) -> str:
    """Return the variant in a digest, with a colon; empty for data as found or as drawn."""
    read = place.variant if place else variant if variant == prepared.JPEG75 else ""
    return f"{read}:" if read else ""


def image_hashes(examples: Examples, folder: Path | None) -> list[str]:
    """Return the SHA-256 of each image: of its pixels if it is built in, else of its file."""
    if examples.pixels is not None:
        return [hashlib.sha256(one.tobytes()).hexdigest() for one in examples.pixels.numpy()]
    if examples.hashes or folder is None:
        return list(examples.hashes)
    return splits.hash_images(folder, examples.files)


def _has_repeats(shift: Shift, suite: str) -> bool:
    return bool(shift.source) and load_source(shift.source, card_folder(suite)).repeats


def _require_apart(
    shift: Shift, scored: Sequence[str], trained: Sequence[str], repeats: bool
) -> list[str]:
    """Return a warning about shift images that are byte-identical to training images.

    Raises `UserError` if these are more than data sets are published with, and not said to be.
    """
    known = set(trained)
    shared = sum(one in known for one in scored)
    if not shared:
        return []
    what = f"{shift.name}: {shared:,} of its {len(scored):,} images are trained on, byte for byte"
    if shared > MAX_DUPLICATE_SHARE * len(scored) and not repeats:
        raise UserError(f"E-DUP {what}")
    return [f"W-DUP {what}"]
