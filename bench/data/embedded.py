"""Every embedded task by name: those of `mini`, and those of `vtab_mini`."""

from collections.abc import Callable
from functools import cache, partial

from bench.config.suite import Split
from bench.data import builtin_tasks
from bench.data.builtin_tasks import LabelledImages
from bench.data.drawn import drawing, natural, specialized, structured

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
