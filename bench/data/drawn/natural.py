"""The natural group of `vtab_mini`: letters, typefaces, textures, digits, photographs, plants."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageFont

from bench.config.suite import Split
from bench.data import builtin_tasks
from bench.data.builtin_tasks import SIDE, TEST, TRAIN, TRAINVAL, LabelledImages
from bench.data.drawn import drawing

LETTERS = "ABCDEFGHJKLMNPRSTXYZ"
FONTS = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral", "STIXGeneralItalic",
         "cmr10", "cmtt10", "cmss10", "DejaVuSans-Bold", "DejaVuSerif-Bold")  # fmt: skip
SIZES = (72, 117)  # of a letter
PETALS = (4, 5, 6, 8)
WIDTHS = (0.62, 0.34, 0.5)  # of a petal, by shape; the third is pointed
TILE_SIDE = 48  # of a photograph
# (photograph, 2 * lower + right) of each class; the upper right of the first is plain sky.
REGIONS = [
    (photo, quarter) for photo in range(3) for quarter in range(4) if (photo, quarter) != (0, 1)
]
# Of five kinds of tiles, no two neighbours alike, those of each split.
TILES: dict[str, tuple[int, ...]] = {"train": (0, 1), "val": (2,), "test": (3, 4)}
CONTRAST = 40  # of a crop's brightest and darkest pixel, at least
JULIA = ((-0.8, 0.156), (-0.4, 0.6), (0.285, 0.01), (-0.7269, 0.1889), (-0.123, 0.745),
         (-0.75, 0.0), (0.0, 0.8), (-0.39, -0.587), (-1.1, 0.2), (0.35, 0.35))  # fmt: skip
ONE = 1 << 16  # fixed point
STEPS = 20


def letter(rng: np.random.Generator, label: int) -> np.ndarray:
    """Draw one of twenty letters in any of ten fonts, among stray lines."""
    return glyph(rng, LETTERS[label], FONTS, SIZES)


def glyph(
    rng: np.random.Generator, text: str, fonts: Sequence[str], sizes: tuple[int, int]
) -> np.ndarray:
    """Draw a character in any of the fonts and sizes, the last exclusive, among stray lines."""
    ground, ink = drawing.contrasting_colours(rng)
    picture, draw = drawing.new_canvas(ground)
    for _ in range(2):
        draw.line(rng.integers(128, size=4).tolist(), drawing.vary(rng, ink, 60), 3)
    place = rng.integers(50, 79, size=2).tolist()
    font = load_font(fonts[int(rng.integers(len(fonts)))], int(rng.integers(*sizes)))
    draw.text(place, text, ink, font, anchor="mm")
    return drawing.shrink(picture, rng, 15)


def typeface(rng: np.random.Generator, label: int) -> np.ndarray:
    """Draw two rows of two letters in the label's font."""
    ground, ink = drawing.contrasting_colours(rng)
    picture, draw = drawing.new_canvas(ground)
    font = load_font(FONTS[label], int(rng.integers(56, 73)))
    for row in (34, 94):
        letters = "".join(rng.choice(list("abdeghknprtuRGEMaeg"), size=2).tolist())
        draw.text((64 + int(rng.integers(-8, 9)), row), letters, ink, font, anchor="mm")
    return drawing.shrink(picture, rng)


@cache
def load_font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """Load one of the fonts that come with matplotlib."""
    import matplotlib

    path = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf")
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def texture(rng: np.random.Generator, label: int) -> np.ndarray:
    """Draw one of ten patterns in two colours, at any angle, scale and phase."""
    places = np.arange(0, 64 * 100, 100)
    angle = int(rng.integers(360))
    across, down = drawing.turn(1, 0, angle)
    u = (across * places[None] + down * places[:, None]).round().astype(np.int64)
    v = (across * places[:, None] - down * places[None]).round().astype(np.int64)
    period = int(rng.integers(900, 1900))
    shift = rng.integers(period, size=2)
    mask = PATTERNS[label](u + 9000 + shift[0], v + 9000 + shift[1], period)  # (64, 64)
    colours = np.array(drawing.contrasting_colours(rng))  # (2, 3)
    pixels = Image.fromarray(colours[mask.astype(np.int64)].astype(np.uint8)).reduce(2)
    return drawing.add_noise(np.asarray(pixels), rng, 90)


def _wave(u: np.ndarray, period: int) -> np.ndarray:
    """Return a triangle wave from 0 to period / 2."""
    return abs(u % period - period // 2)


PATTERNS = (
    lambda u, v, p: u % p * 2 < p,  # stripes
    lambda u, v, p: (u * 2 // p + v * 2 // p) % 2 == 0,  # checks
    lambda u, v, p: _wave(u, p) ** 2 + _wave(v, p) ** 2 < p * p // 9,  # dots
    lambda u, v, p: (u % p * 5 < p) | (v % p * 5 < p),  # grid
    lambda u, v, p: (u + _wave(v, p)) % p * 2 < p,  # zigzag
    lambda u, v, p: (v % p * 5 < p) | ((u + v // p % 2 * p) % (2 * p) * 5 < p),  # bricks
    lambda u, v, p: (_wave(u, p) + _wave(v, p)) * 3 < p,  # diamonds
    lambda u, v, p: ((u - 12000) ** 2 + (v - 9000) ** 2) // (p * 3000) % 2 == 0,  # rings
    lambda u, v, p: u % p < v % p,  # triangles
    lambda u, v, p: (u % p * 5 < p) & (v % p * 3 < 2 * p),  # dashes
)


def flower(rng: np.random.Generator, label: int) -> np.ndarray:
    """Draw a flower; the class is its number of petals, and their shape: 4 x 3."""
    petals, shape = PETALS[label // len(WIDTHS)], label % len(WIDTHS)
    picture, draw = drawing.new_canvas(drawing.vary(rng, (60, 110, 50), 45))
    for _ in range(6):
        draw.line(rng.integers(128, size=4).tolist(), drawing.vary(rng, (50, 130, 40), 40), 5)
    x, y = rng.integers(50, 79, size=2).tolist()
    length, start = int(rng.integers(34, 51)), int(rng.integers(360))
    colour = drawing.draw_colour(rng, 90, 256)
    for petal in range(petals):
        angle = start + petal * 360 // petals
        draw.polygon(_petal(x, y, length, angle, shape, petals), drawing.vary(rng, colour))
    draw.ellipse(drawing.disc(x, y, length // 4), drawing.vary(rng, (210, 180, 40), 40))
    return drawing.shrink(picture, rng)


def _petal(
    x: int, y: int, length: int, angle: int, shape: int, petals: int
) -> list[tuple[int, int]]:
    half = length * WIDTHS[shape] * 4 / (petals + 2) / 2
    profile = [(0, 0), (0.4, 0.6), (0.7, 1), (0.9, 0.8), (1, 0.3)]
    if shape == 2:
        profile = [(0, 0), (0.4, 1), (1, 0)]
    outline = [(a, b) for a, b in profile] + [(a, -b) for a, b in profile[::-1]]
    turned = [drawing.turn(a * length, b * half, angle) for a, b in outline]
    return [(x + round(right), y + round(down)) for right, down in turned]


def fractal(rng: np.random.Generator, label: int) -> np.ndarray:
    """Draw a Julia set near one of ten parameters, in random colours, turned and enlarged."""
    real, imaginary = (round(part * ONE) for part in JULIA[label])
    right, down = drawing.turn(ONE, 0, int(rng.integers(360)))
    step = int(rng.integers(26, 40))  # thousandths of a unit, a sample of 64
    grid = (np.arange(64) - 32 + rng.integers(-6, 7)) * step
    x = (right * grid[None] + down * grid[:, None]).round().astype(np.int64) // 1000
    y = (right * grid[:, None] - down * grid[None]).round().astype(np.int64) // 1000
    real, imaginary = (part + int(rng.integers(-1000, 1001)) for part in (real, imaginary))
    steps = np.zeros((64, 64), np.int64)
    for _ in range(STEPS):
        x, y = (x * x - y * y) // ONE + real, 2 * x * y // ONE + imaginary
        inside = x * x + y * y < 4 * ONE * ONE
        steps += inside
        x, y = np.where(inside, x, 4 * ONE), np.where(inside, y, 0)
    low, high = (np.array(colour) for colour in drawing.contrasting_colours(rng))
    pixels = low + (high - low) * steps[..., None] // STEPS  # (64, 64, 3)
    return drawing.add_noise(
        np.asarray(Image.fromarray(pixels.astype(np.uint8)).reduce(2)), rng, 20
    )


def street_digits(seed: int) -> dict[Split, LabelledImages]:
    """Return UCI's digits in colour between parts of two others, like SVHN."""
    from sklearn.datasets import load_digits

    table, rng = load_digits(), np.random.default_rng(seed)
    order = rng.permutation(len(table.target))
    small = (table.images[order].astype(np.int64) * 255 // 16).astype(np.uint8)  # (B, 8, 8)
    parts = np.split(small, [TRAIN, TRAINVAL])  # no digit stands beside one of another split
    images = [_street_number(rng, part, digit) for part in parts for digit in part]
    return builtin_tasks.split_images(np.stack(images), table.target[order])


def _street_number(rng: np.random.Generator, others: np.ndarray, digit: np.ndarray) -> np.ndarray:
    side, mask = int(rng.integers(22, 29)), np.zeros((SIDE, 3 * SIDE), np.int64)
    top, left = rng.integers(0, SIDE - side + 1, size=2).tolist()
    digits = (others[rng.integers(len(others))], digit, others[rng.integers(len(others))])
    for place, small in zip((-side, 0, side), digits, strict=True):
        enlarged = Image.fromarray(small).resize((side, side), Image.Resampling.BILINEAR)
        start = SIDE + left + place
        mask[top : top + side, start : start + side] = np.asarray(enlarged)
    ground, ink = (np.array(colour) for colour in drawing.contrasting_colours(rng))
    shade = mask[:, SIDE : 2 * SIDE, None]
    return drawing.add_noise(ground + (ink - ground) * shade // 255, rng, 12)


def photo_regions(seed: int) -> dict[Split, LabelledImages]:
    """Return crops of three photographs; the class is the photograph and the quarter of it.

    A photograph is cut into tiles, and no crop leaves its tile. Train, val and test have tiles of
    their own, so that no crop of one overlaps a crop of another.
    """
    rng, photos = np.random.default_rng(seed), _photographs()
    labels = builtin_tasks.balanced_labels(rng, classes=len(REGIONS))
    counts: dict[Split, int] = {"train": TRAIN, "val": TRAINVAL - TRAIN, "test": TEST}
    splits = [split for split, count in counts.items() for _ in range(count)]
    images = [
        _region(rng, photos[photo], quarter, split)
        for (photo, quarter), split in zip((REGIONS[i] for i in labels), splits, strict=True)
    ]
    return builtin_tasks.split_images(np.stack(images), labels)


def _photographs() -> list[np.ndarray]:
    import matplotlib
    from sklearn.datasets import load_sample_image

    path = Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")
    with Image.open(path) as portrait:
        last = np.asarray(portrait.convert("RGB"))
    return [load_sample_image("china.jpg"), load_sample_image("flower.jpg"), last]


def _region(rng: np.random.Generator, photo: np.ndarray, quarter: int, split: Split) -> np.ndarray:
    pixels = np.zeros((1, 1, 3), np.uint8)
    while np.ptp(pixels.max(axis=-1)) < CONTRAST:  # a piece of plain sky belongs nowhere
        top, left, side = region_place(rng, photo.shape[:2], quarter, split)
        pixels = builtin_tasks.resize(photo[top : top + side, left : left + side])
    pixels = pixels[:, :: 1 - 2 * int(rng.integers(2))]
    return drawing.add_noise(pixels.astype(np.int64) * rng.integers(70, 101) // 100, rng, 4)


def region_place(
    rng: np.random.Generator, shape: tuple[int, ...], quarter: int, split: Split
) -> tuple[int, int, int]:
    """Draw the top, left and side of a crop in one of the split's tiles of that quarter."""
    rows, columns = (size // TILE_SIDE // 2 for size in shape)
    lower, right = divmod(quarter, 2)
    tiles = [
        (row, column)
        for row in range(rows * lower, rows * (lower + 1))
        for column in range(columns * right, columns * (right + 1))
        if (row + 2 * column) % 5 in TILES[split]
    ]
    row, column = tiles[rng.integers(len(tiles))]
    side = int(rng.integers(36, TILE_SIDE + 1))
    down, across = rng.integers(TILE_SIDE - side + 1, size=2).tolist()
    return row * TILE_SIDE + down, column * TILE_SIDE + across, side
