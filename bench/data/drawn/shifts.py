"""Shifts of built-in tasks: their test images changed or drawn anew, each in three strengths."""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from bench.data import builtin_tasks
from bench.data.builtin_tasks import SIDE
from bench.data.drawn import drawing, natural
from bench.utils.errors import UserError, unknown_name

Change = Callable[[np.random.Generator, int, np.ndarray, Sequence[int]], np.ndarray]
"""From a generator, a strength, images (B, 32, 32, 3) and labels to images (B, 32, 32, 3)."""

STRENGTHS = (1, 2, 3)
NOISE = (12, 30, 75)  # of a pixel's value, to either side
CONTRAST = (50, 25, 12)  # percent of the distance to mid grey that is left
INVERSION = (65, 80, 100)  # percent of the way to the negative; halfway is grey
PHOTOGRAPH = (30, 50, 70)  # percent of a pixel's value that is a photograph's
CROP_SIDE = 96  # of the photograph, before it shrinks to SIDE
DIGIT_SIZES = (120, 90, 60)  # of the print; a handwritten digit fills its picture
DIGIT_FONTS = ("DejaVuSans", "DejaVuSerif", "STIXGeneralItalic")
DIGIT_SIDE = 8  # pixels of a handwritten digit
LETTER_SIZES = ((80, 117), (60, 80), (42, 60))  # the last exclusive
LETTER_FONTS = ("DejaVuSans-BoldOblique", "DejaVuSerif-Italic", "cmmi10", "STIXGeneralBolIta")


def change(name: str, strength: int, images: np.ndarray, labels: Sequence[int]) -> np.ndarray:
    """Return the images, (B, 32, 32, 3) uint8, under a shift of a strength; the same each time.

    Raises `UserError` for a name or a strength that there is not.
    """
    if name not in CHANGES:
        raise unknown_name("drawn shift", name, CHANGES)
    if strength not in STRENGTHS:
        raise UserError(f"the drawn shift {name!r} has strengths 1 to 3; {strength} was given")
    rng = np.random.default_rng([*name.encode(), strength])
    return CHANGES[name](rng, strength, images, labels)


def _noise(rng: np.random.Generator, n: int, images: np.ndarray, _: Sequence[int]) -> np.ndarray:
    return drawing.add_noise(images, rng, NOISE[n - 1])


def _blur(_: np.random.Generator, n: int, images: np.ndarray, __: Sequence[int]) -> np.ndarray:
    """Return the mean over squares of 2 n + 1 pixels, in whole numbers."""
    padded = np.pad(images.astype(np.int64), ((0, 0), (n, n), (n, n), (0, 0)), mode="edge")
    squares = np.lib.stride_tricks.sliding_window_view(padded, (2 * n + 1, 2 * n + 1), (1, 2))
    return (squares.sum(axis=(-2, -1)) // (2 * n + 1) ** 2).astype(np.uint8)


def _contrast(_: np.random.Generator, n: int, images: np.ndarray, __: Sequence[int]) -> np.ndarray:
    return _mix(images, np.full_like(images, 128), 100 - CONTRAST[n - 1])


def _inversion(_: np.random.Generator, n: int, images: np.ndarray, __: Sequence[int]) -> np.ndarray:
    return _mix(images, 255 - images, INVERSION[n - 1])


def _photograph(
    rng: np.random.Generator, n: int, images: np.ndarray, _: Sequence[int]
) -> np.ndarray:
    """Return the images through which a photograph shines, another part of it for each."""
    from sklearn.datasets import load_sample_image

    photo = load_sample_image("flower.jpg")  # (H, W, 3)
    tops, lefts = (rng.integers(side - CROP_SIDE, size=len(images)) for side in photo.shape[:2])
    crops = [
        builtin_tasks.resize(photo[top : top + CROP_SIDE, left : left + CROP_SIDE])
        for top, left in zip(tops.tolist(), lefts.tolist(), strict=True)
    ]
    return _mix(images, np.stack(crops), PHOTOGRAPH[n - 1])


def _mix(images: np.ndarray, others: np.ndarray, percent: int) -> np.ndarray:
    """Return images with so many percent of others, in whole numbers."""
    wide, far = images.astype(np.int64), others.astype(np.int64)
    return ((wide * (100 - percent) + far * percent) // 100).astype(np.uint8)


def _digit_font(
    rng: np.random.Generator, n: int, _: np.ndarray, labels: Sequence[int]
) -> np.ndarray:
    """Draw each label as a printed digit, as coarse and as bright as a handwritten one."""
    return np.stack([_printed_digit(rng, label, DIGIT_SIZES[n - 1]) for label in labels])


def _printed_digit(rng: np.random.Generator, label: int, size: int) -> np.ndarray:
    picture, draw = drawing.new_canvas((0, 0, 0))
    font = natural.load_font(DIGIT_FONTS[rng.integers(len(DIGIT_FONTS))], size)
    place = rng.integers(58, 71, size=2).tolist()
    draw.text(place, str(label), (255, 255, 255), font, anchor="mm")
    coarse = np.asarray(picture.reduce(drawing.CANVAS // DIGIT_SIDE))  # (8, 8, 3)
    return np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _letter_font(
    rng: np.random.Generator, n: int, _: np.ndarray, labels: Sequence[int]
) -> np.ndarray:
    """Draw each label as a letter in fonts that the task has not, ever smaller."""
    sizes = LETTER_SIZES[n - 1]
    pictures = [natural.glyph(rng, natural.LETTERS[one], LETTER_FONTS, sizes) for one in labels]
    return np.stack(pictures)


CHANGES: dict[str, Change] = {
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "inversion": _inversion,
    "photograph": _photograph,
    "digit_font": _digit_font,
    "letter_font": _letter_font,
}
