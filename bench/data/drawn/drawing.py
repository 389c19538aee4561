"""Tools of the drawn tasks: balanced labels, a canvas that shrinks, rounded turns, noise.

Only integers and rounded sines reach the pixels, so every x86-64 processor draws the same bytes.
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from bench.config.suite import Split
from bench.data.builtin_tasks import SIDE, LabelledImages, balanced_labels, split_images

CANVAS = 128  # side at which a picture is drawn, before it shrinks to SIDE
Colour = tuple[int, int, int]
DrawPicture = Callable[[np.random.Generator, int], np.ndarray]


def draw_task(seed: int, classes: int, draw: DrawPicture) -> dict[Split, LabelledImages]:
    """Return the splits of a task whose pictures are drawn one by one, each from its label."""
    rng = np.random.default_rng(seed)
    labels = balanced_labels(rng, classes)
    return split_images(np.stack([draw(rng, label) for label in labels.tolist()]), labels)


def new_canvas(colour: Colour) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("RGB", (CANVAS, CANVAS), colour)
    return picture, ImageDraw.Draw(picture)


def draw_colour(rng: np.random.Generator, low: int, high: int) -> Colour:
    red, green, blue = rng.integers(low, high, size=3).tolist()
    return red, green, blue


def contrasting_colours(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Draw a dark and a bright colour, in random order."""
    dark, bright = draw_colour(rng, 0, 110), draw_colour(rng, 145, 256)
    return (dark, bright) if rng.integers(2) else (bright, dark)


def vary(rng: np.random.Generator, colour: Colour, spread: int = 18) -> Colour:
    """Return a colour near this one."""
    shifted = np.clip(np.array(colour) + rng.integers(-spread, spread + 1, size=3), 0, 255)
    red, green, blue = shifted.tolist()
    return red, green, blue


def turn(x: float, y: float, degrees: int) -> tuple[float, float]:
    """Turn a point; rounded, so that the last digit of a platform's sine moves no pixel."""
    sine = round(math.sin(math.radians(degrees)), 9)
    cosine = round(math.cos(math.radians(degrees)), 9)
    return cosine * x - sine * y, sine * x + cosine * y


def ray(x: int, y: int, length: float, degrees: int) -> tuple[int, int]:
    """Return the pixel at a distance from (x, y) in a direction."""
    right, down = turn(length, 0, degrees)
    return x + round(right), y + round(down)


def disc(x: int, y: int, radius: int) -> tuple[int, int, int, int]:
    return x - radius, y - radius, x + radius, y + radius


def shrink(picture: Image.Image, rng: np.random.Generator, noise: int = 10) -> np.ndarray:
    """Shrink a canvas to a finished picture with some noise: (32, 32, 3) uint8."""
    return add_noise(np.asarray(picture.reduce(CANVAS // SIDE)), rng, noise)


def add_noise(pixels: np.ndarray, rng: np.random.Generator, noise: int) -> np.ndarray:
    grain = rng.integers(-noise, noise + 1, size=pixels.shape)
    return np.clip(pixels.astype(np.int64) + grain, 0, 255).astype(np.uint8)
