"""Renderers of sprites and scenes for the built-in structured tasks."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

SIDE = 32  # pixels of a finished image

# dSprites' factors (Matthey et al. 2017), in the order of its files
SHAPES, SCALES, ORIENTATIONS, POSITIONS = 3, 6, 40, 32
FACTORS = (SHAPES, SCALES, ORIENTATIONS, POSITIONS, POSITIONS)  # the last two: x, y
CANVAS_SIDE = 64  # dSprites' picture
SPRITE_SIDE = 32  # the box a sprite turns in, on the canvas
SUPERSAMPLING = 4  # a canvas pixel holds 4 x 4 samples

# Clevr's colours (Johnson et al. 2017, `properties.json`)
COLOURS = (
    (87, 87, 87),  # gray
    (173, 35, 35),  # red
    (42, 75, 215),  # blue
    (29, 105, 20),  # green
    (129, 74, 25),  # brown
    (129, 38, 192),  # purple
    (41, 208, 208),  # cyan
    (255, 238, 51),  # yellow
)
SCENE_SIDE = 128  # side at which a scene is drawn, before it shrinks to SIDE
RADII = (9, 13)  # of the small and the large objects, on the scene
GAP = 2  # between objects, on the scene
CANDIDATES = 64  # places tried at once


def render_sprites(factors: np.ndarray) -> np.ndarray:
    """Render white sprites on black from factor indices in the order of FACTORS.

    The geometry follows Matthey et al. 2017, "dSprites": a 64 x 64 canvas, scales 0.5 to 1,
    orientations `linspace(0, 2 * pi, 40)`, 32 positions a pixel apart; no sprite is cut off.
    dSprites' own drawing code is not public: the outlines are ours, and the canvas is
    antialiased as it is halved, where dSprites is binary.
    Takes (B, 5) integers, gives (B, 32, 32, 3) uint8.
    """
    masks = _sprite_masks()
    canvas = np.zeros((len(factors), CANVAS_SIDE, CANVAS_SIDE), np.int64)
    for picture, (shape, scale, orientation, x, y) in zip(canvas, factors, strict=True):
        picture[y : y + SPRITE_SIDE, x : x + SPRITE_SIDE] = masks[shape, scale, orientation]
    counts = _sum_pool(canvas, CANVAS_SIDE // SIDE)  # (B, 32, 32)
    grey = counts * 255 // (SUPERSAMPLING * CANVAS_SIDE // SIDE) ** 2
    return np.repeat(grey[..., None].astype(np.uint8), 3, axis=-1)


def _sprite_masks() -> np.ndarray:
    """Count the samples of each pixel that each sprite covers: (3, 6, 40, 32, 32), 0 to 16."""
    masks = np.empty((SHAPES, SCALES, ORIENTATIONS, SPRITE_SIDE, SPRITE_SIDE), np.int64)
    for orientation in range(ORIENTATIONS):
        across, down = _rotated_coordinates(orientation)
        for scale in range(SCALES):
            size = (SCALES - 1 + scale) / (2 * (SCALES - 1))  # 0.5, 0.6 .. 1
            for shape, covers in enumerate((_square, _ellipse, _heart)):
                covered = covers(across / size, down / size)
                masks[shape, scale, orientation] = _sum_pool(covered, SUPERSAMPLING)
    return masks


def _rotated_coordinates(orientation: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples' coordinates in the frame of a rotated sprite with bounding radius 1."""
    samples = SPRITE_SIDE * SUPERSAMPLING
    places = (2 * np.arange(samples) + 1 - samples) / samples
    angle = 2 * math.pi * orientation / (ORIENTATIONS - 1)
    # rounded, so that the last digit of a platform's sine moves no pixel
    cosine, sine = round(math.cos(angle), 9), round(math.sin(angle), 9)
    x, y = places[None, :], places[:, None]
    return cosine * x + sine * y, cosine * y - sine * x  # 2 x (128, 128)


def _square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (abs(x) < 0.69) & (abs(y) < 0.69)


def _ellipse(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x * x / (0.97 * 0.97) + y * y / (0.5 * 0.5) < 1


def _heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = 1.4 * x, 0.1 - 1.4 * y  # the tip points down at orientation 0
    inner = x * x + y * y - 1
    return inner * inner * inner < x * x * y * y * y


def _sum_pool(pixels: np.ndarray, size: int) -> np.ndarray:
    """Sum over blocks of size x size pixels: (..., H, W) -> (..., H / size, W / size)."""
    *batch, height, width = pixels.shape
    blocks = pixels.reshape(*batch, height // size, size, width // size, size)
    return blocks.sum(axis=(-3, -1), dtype=np.int64)


def render_scene(rng: np.random.Generator, objects: int) -> np.ndarray:
    """Render a scene with so many `objects` on a grey gradient: (32, 32, 3) uint8.

    After Clevr (Johnson et al. 2017): its eight colours, three shapes and two sizes, but flat.
    Their bounding circles keep apart by half a finished pixel; so each can be told.
    """
    picture = _background(rng)
    draw = ImageDraw.Draw(picture)
    radii = [RADII[size] for size in rng.integers(len(RADII), size=objects)]
    shapes = rng.integers(len(DRAW_FUNCTIONS), size=objects)
    colours = rng.integers(len(COLOURS), size=objects)
    for place, radius, shape, colour in zip(
        _place_objects(rng, radii), radii, shapes, colours, strict=True
    ):
        DRAW_FUNCTIONS[shape](draw, *place, radius, COLOURS[colour])
    return np.asarray(picture.reduce(SCENE_SIDE // SIDE))


def _background(rng: np.random.Generator) -> Image.Image:
    """Render a vertical gradient between two random greys."""
    top, bottom = rng.integers(140, 221, size=2)
    rows = top + (bottom - top) * np.arange(SCENE_SIDE) // (SCENE_SIDE - 1)
    pixels = np.broadcast_to(rows[:, None, None], (SCENE_SIDE, SCENE_SIDE, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def _place_objects(rng: np.random.Generator, radii: list[int]) -> list[tuple[int, int]]:
    """Draw the centres of all objects; starts again if one finds no room."""
    places: list[tuple[int, int]] = []
    while len(places) < len(radii):
        radius = radii[len(places)]
        candidates = rng.integers(radius, SCENE_SIDE - radius, size=(CANDIDATES, 2)).tolist()
        free = ((x, y) for x, y in candidates if _is_free(x, y, radius, places, radii))
        place = next(free, None)
        places = [*places, place] if place else []
    return places


def _is_free(x: int, y: int, radius: int, places: list[tuple[int, int]], radii: list[int]) -> bool:
    """Return whether an object keeps its distance from those already placed."""
    return all(
        (x - left) ** 2 + (y - top) ** 2 >= (radius + other + GAP) ** 2
        for (left, top), other in zip(places, radii, strict=False)
    )


Colour = tuple[int, int, int]
DrawFunction = Callable[[ImageDraw.ImageDraw, int, int, int, Colour], None]


def _draw_circle(draw: ImageDraw.ImageDraw, x: int, y: int, radius: int, colour: Colour) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _draw_square(draw: ImageDraw.ImageDraw, x: int, y: int, radius: int, colour: Colour) -> None:
    half = radius * 3 // 4
    draw.rectangle((x - half, y - half, x + half, y + half), fill=colour)


def _draw_triangle(draw: ImageDraw.ImageDraw, x: int, y: int, radius: int, colour: Colour) -> None:
    base = y + radius * 4 // 5
    corners = [(x, y - radius), (x - radius, base), (x + radius, base)]
    draw.polygon(corners, fill=colour)


DRAW_FUNCTIONS: tuple[DrawFunction, ...] = (_draw_circle, _draw_square, _draw_triangle)
