"""The built-in tasks: small images that are rendered or part of dependencies; no download."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from bench.config.suite import Split
from bench.data import builtin_rendering

SIDE = builtin_rendering.SIDE
TRAIN, TRAINVAL, TEST = 800, 1000, 800  # images; the digits' test has what is left

# photo_crops: the cells that a quarter's centres lie in, and the crops, in pixels
ROWS, COLUMNS = 2, 3
CELL_SIDE = 82
INSET = 20  # of the cell's border, without centres
MIN_CROP, MAX_CROP = 48, 96


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images and their classes; shared between callers, so read-only."""

    images: np.ndarray  # (B, 32, 32, 3) uint8
    labels: np.ndarray  # (B,) int64


@cache
def digits() -> dict[Split, LabelledImages]:
    """Return scikit-learn's copy of UCI's handwritten digits, enlarged from 8 x 8; real data.

    Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits": 1,797 images.
    """
    from sklearn.datasets import load_digits

    table = load_digits()
    order = np.random.default_rng(1).permutation(len(table.target))
    small = table.images[order].astype(np.int64) * 255 // 16  # (B, 8, 8)
    grey = np.stack([resize(image) for image in small.astype(np.uint8)])  # (B, 32, 32)
    images = np.repeat(grey[..., None], 3, axis=-1)  # (B, 32, 32, 3)
    return split_images(images, table.target[order])


@cache
def photo_crops() -> dict[Split, LabelledImages]:
    """Return crops of two photographs; the class is the photograph and the quarter of the centre.

    The class is 4 * photograph + 2 * lower + right, `china.jpg` first. Crops of 48 to 96 pixels
    are mirrored at random and made up to 30 % darker. Each quarter is cut into 2 x 3 cells as a
    chessboard: test centres lie in the cells of one colour, train and val centres in the other.

    Train and test centres are more than 40 pixels apart, yet crops overlap: of a test crop 38 %
    lie in the one nearest trainval crop (62 % at most), 60 % in any. Val shares train's cells,
    so it scores far above test.
    """
    from sklearn.datasets import load_sample_image

    rng = np.random.default_rng(2)
    photos = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    labels = balanced_labels(rng, classes=8)
    parities = np.repeat([0, 1], [TRAINVAL, TEST])
    pairs = zip(labels.tolist(), parities.tolist(), strict=True)
    images = [_crop(rng, photos[label // 4], label % 4, parity) for label, parity in pairs]
    return split_images(np.stack(images), labels)


@cache
def sprites_location() -> dict[Split, LabelledImages]:
    """Return sprites labelled by horizontal position in 16 bins, like VTAB's dSprites/location."""
    factors = distinct_factors(seed=3)
    return split_images(builtin_rendering.render_sprites(factors), location_label(factors[:, 3]))


@cache
def sprites_orientation() -> dict[Split, LabelledImages]:
    """Return sprites labelled by orientation in 16 bins, like VTAB's dSprites/orientation.

    As in dSprites, the labels are ambiguous: a square looks much the same every quarter turn and
    an ellipse every half turn, and orientation 39 is orientation 0 once more (see
    https://github.com/google-deepmind/dsprites-dataset/issues/7), in bin 15 and not 0.
    """
    factors = distinct_factors(seed=4)
    return split_images(builtin_rendering.render_sprites(factors), orientation_label(factors[:, 2]))


@cache
def object_count() -> dict[Split, LabelledImages]:
    """Return scenes labelled by their number of objects minus 3, like VTAB's CLEVR/count."""
    rng = np.random.default_rng(5)
    labels = balanced_labels(rng, classes=8)
    images = np.stack([builtin_rendering.render_scene(rng, label + 3) for label in labels.tolist()])
    return split_images(images, labels)


def location_label(x: np.ndarray) -> np.ndarray:
    """Return the bin of each x index: 32 positions, two a bin."""
    return x // 2


def orientation_label(orientation: np.ndarray) -> np.ndarray:
    """Return the bin of each orientation index: 40 orientations, three and two a bin in turn."""
    return 2 * orientation // 5  # floor(orientation / 2.5)


def split_images(images: np.ndarray, labels: np.ndarray) -> dict[Split, LabelledImages]:
    """Split images that are in the order train, val, test; returns views, not copies."""
    bounds: dict[Split, slice] = {
        "train": slice(TRAIN),
        "val": slice(TRAIN, TRAINVAL),
        "trainval": slice(TRAINVAL),
        "test": slice(TRAINVAL, None),
    }
    labels = labels.astype(np.int64)
    return {name: LabelledImages(images[rows], labels[rows]) for name, rows in bounds.items()}


def balanced_labels(rng: np.random.Generator, classes: int) -> np.ndarray:
    """Draw labels of train, val and test, balanced within each split, in random order."""
    sizes = (TRAIN, TRAINVAL - TRAIN, TEST)
    return np.concatenate([rng.permutation(np.arange(size) % classes) for size in sizes])


def distinct_factors(seed: int) -> np.ndarray:
    """Draw distinct combinations of a sprite's factors, uniformly: (B, 5)."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(np.prod(builtin_rendering.FACTORS), TRAINVAL + TEST, replace=False)
    return np.stack(np.unravel_index(chosen, builtin_rendering.FACTORS), axis=-1)


def _crop(rng: np.random.Generator, photo: np.ndarray, quarter: int, parity: int) -> np.ndarray:
    """Draw a randomly augmented crop with its centre in a cell of that parity: (32, 32, 3)."""
    row, column = _draw_centre(rng, photo, quarter, parity)
    size = int(rng.integers(MIN_CROP, MAX_CROP + 1))
    top, left = row - size // 2, column - size // 2
    pixels = resize(photo[top : top + size, left : left + size])
    if rng.integers(2):
        pixels = pixels[:, ::-1]
    return (pixels.astype(np.int64) * rng.integers(70, 101) // 100).astype(np.uint8)


def _draw_centre(
    rng: np.random.Generator, photo: np.ndarray, quarter: int, parity: int
) -> tuple[int, int]:
    """Draw the row and column of a centre; cells are counted from the photograph's middle."""
    lower, right = divmod(quarter, 2)
    cells = [
        (row, column)
        for row in range(ROWS * (lower - 1), ROWS * lower)
        for column in range(COLUMNS * (right - 1), COLUMNS * right)
        if (row + column) % 2 == parity
    ]
    cell = np.array(cells[rng.integers(len(cells))])
    middle = np.array(photo.shape[:2]) // 2
    row, column = middle + CELL_SIDE * cell + rng.integers(INSET, CELL_SIDE - INSET, size=2)
    return int(row), int(column)


def resize(pixels: np.ndarray) -> np.ndarray:
    image = Image.fromarray(pixels)
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


TASKS: dict[str, Callable[[], dict[Split, LabelledImages]]] = {
    "digits": digits,
    "photo_crops": photo_crops,
    "sprites_location": sprites_location,
    "sprites_orientation": sprites_orientation,
    "count": object_count,
}
