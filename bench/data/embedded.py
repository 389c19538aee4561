"""Every embedded task by name, of `mini` and of `vtab_mini`; and JPEG copies of them."""

import io
from collections.abc import Callable
from functools import cache, partial

import numpy as np
from PIL import Image

from bench.config.suite import Split
from bench.data import builtin_tasks
from bench.data.builtin_tasks import LabelledImages
from bench.data.drawn import drawing, natural, specialized, structured
from bench.data.prepared import JPEG75
from bench.utils.errors import unknown_name

MakeSplits = Callable[[], dict[Split, LabelledImages]]

# the seed, the number of classes, and what draws a picture from its label
DRAWN: dict[str, tuple[int, int, drawing.DrawPicture]] = {
    "letters": (101, 20, natural.letter),
    "typefaces": (102, 10, natural.typeface),
    "textures": (103, 10, natural.texture),
    "flowers": (104, 12, natural.flower),
    "fractals": (105, 10, natural.fractal),
    "cells": (108, 2, specialized.cells),
    "land": (109, 8, specialized.land),
    "layouts": (110, 8, specialized.layout),
    "lesions": (111, 5, specialized.lesions),
    "objects": (112, 8, structured.count),
    "distance": (113, 6, structured.distance),
    "orientation": (115, 16, structured.orientation),
    "azimuth": (116, 12, structured.azimuth),
    "elevation": (117, 9, structured.elevation),
    "depth": (118, 4, structured.depth),
    "maze": (119, 6, structured.maze),
}
VTAB_MINI: dict[str, MakeSplits] = {
    "street_digits": cache(partial(natural.street_digits, 106)),
    "photo_regions": cache(partial(natural.photo_regions, 107)),
    "location": cache(partial(structured.location, 114)),
    **{name: cache(partial(drawing.draw_task, *parts)) for name, parts in DRAWN.items()},
}
TASKS: dict[str, MakeSplits] = {**builtin_tasks.TASKS, **VTAB_MINI}

JPEG_QUALITY = 75  # Pillow's own, of the copies of VTAB-1k in circulation


def load(name: str, split: Split, variant: str | None = None) -> LabelledImages:
    """Return a split of the task `name`: the original images, or copies through JPEG.

    Raises `UserError` for a name that no task has.
    """
    if name not in TASKS:
        raise unknown_name("embedded task", name, TASKS)
    return _jpeg_copy(name, split) if variant == JPEG75 else TASKS[name]()[split]


@cache
def _jpeg_copy(name: str, split: Split) -> LabelledImages:
    original = TASKS[name]()[split]
    images = np.stack([_through_jpeg(image) for image in original.images])
    return LabelledImages(images, original.labels)


def _through_jpeg(image: np.ndarray) -> np.ndarray:
    """Return an image (H, W, 3) as a JPEG file of it shows it."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=JPEG_QUALITY)
    with Image.open(stream) as copy:
        return np.asarray(copy)
