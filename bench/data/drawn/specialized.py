"""The specialized group of `vtab_mini`: cells, land from above, and the eye's ground."""

import numpy as np
from PIL import ImageDraw

from bench.data.drawn import drawing

LESIONS = ((0, 0), (1, 2), (3, 5), (6, 9), (11, 16))  # of a grade, the fewest and most
LAND = ((70, 110, 50), (150, 140, 80), (110, 150, 80), (120, 125, 110))


def cells(rng: np.random.Generator, label: int) -> np.ndarray:
    """Draw tissue; the class is whether large, uneven nuclei crowd its centre, as Camelyon."""
    picture, draw = drawing.new_canvas(drawing.vary(rng, (225, 180, 205), 22))
    stain = drawing.vary(rng, (110, 60, 140), 25)
    for _ in range(int(rng.integers(14, 30))):
        x, y = rng.integers(128, size=2).tolist()
        draw.ellipse(drawing.disc(x, y, int(rng.integers(5, 9))), drawing.vary(rng, stain))
    for _ in range(0 if label else 7):  # a crowd of small nuclei is no tumour
        x, y = rng.integers(44, 85, size=2).tolist()
        draw.ellipse(drawing.disc(x, y, int(rng.integers(5, 9))), drawing.vary(rng, stain))
    large = [(64, 64)] if label else [(int(rng.choice([4, 124])), int(rng.integers(128)))]
    for x, y in large * int(rng.integers(2, 5)):
        right, down = rng.integers(-14, 15, size=2).tolist()
        _blob(
            draw, rng, (x + right, y + down), int(rng.integers(9, 15)), drawing.vary(rng, stain, 30)
        )
    return drawing.shrink(picture, rng, 16)


def _blob(
    draw: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    place: tuple[int, int],
    radius: int,
    colour: drawing.Colour,
) -> None:
    """Draw a disc with an uneven border."""
    lengths = rng.integers(radius * 2 // 3, radius * 4 // 3 + 1, size=10).tolist()
    draw.polygon([drawing.ray(*place, d, 36 * i) for i, d in enumerate(lengths)], colour)


def land(rng: np.random.Generator, label: int) -> np.ndarray:
    """Draw one of eight covers of land, as EuroSAT."""
    picture, draw = drawing.new_canvas(drawing.vary(rng, LAND[rng.integers(len(LAND))], 25))
    angle = int(rng.integers(180))
    COVERS[label](draw, rng, angle)
    return drawing.shrink(picture, rng, 60)


def _strips(draw: ImageDraw.ImageDraw, rng: np.random.Generator, angle: int) -> None:
    """Crops: parallel strips of many colours."""
    for offset in range(-90, 91, int(rng.integers(14, 26))):
        colour = drawing.vary(rng, LAND[rng.integers(3)], 35)
        _band(draw, angle, offset, int(rng.integers(9, 22)), colour)


def _band(
    draw: ImageDraw.ImageDraw, angle: int, offset: int, width: int, colour: drawing.Colour
) -> None:
    x, y = drawing.ray(64, 64, offset, angle + 90)
    ends = (*drawing.ray(x, y, 110, angle), *drawing.ray(x, y, -110, angle))
    draw.line(ends, colour, width)


def _forest(draw: ImageDraw.ImageDraw, rng: np.random.Generator, angle: int) -> None:
    for _ in range(150):
        x, y = rng.integers(128, size=2).tolist()
        draw.ellipse(drawing.disc(x, y, 8), drawing.vary(rng, (45, 85, 40), 28))


def _orchard(draw: ImageDraw.ImageDraw, rng: np.random.Generator, angle: int) -> None:
    step = int(rng.integers(16, 22))
    for row in range(-96, 97, step):
        for column in range(-96, 97, step):
            right, down = drawing.turn(row, column, angle)
            place = 64 + round(right), 64 + round(down)
            draw.ellipse(drawing.disc(*place, 5), drawing.vary(rng, (45, 85, 40), 28))


def _houses(draw: ImageDraw.ImageDraw, rng: np.random.Generator, angle: int) -> None:
    for _ in range(26):
        x, y = rng.integers(128, size=2).tolist()
        colour = drawing.vary(rng, (165, 110, 95), 45)
        draw.rectangle(drawing.disc(x, y, int(rng.integers(4, 8))), colour)


def _halls(draw: ImageDraw.ImageDraw, rng: np.random.Generator, angle: int) -> None:
    for _ in range(5):
        x, y = rng.integers(10, 110, size=2).tolist()
        wide, high = rng.integers(22, 54, size=2).tolist()
        draw.rectangle((x, y, x + wide, y + high), drawing.vary(rng, (165, 140, 135), 45))


def _road(draw: ImageDraw.ImageDraw, rng: np.random.Generator, angle: int) -> None:
    _band(draw, angle, int(rng.integers(-30, 31)), 10, drawing.vary(rng, (165, 165, 165), 30))


def _river(draw: ImageDraw.ImageDraw, rng: np.random.Generator, angle: int) -> None:
    """A winding band."""
    bends = rng.integers(-20, 21, size=7).tolist()
    turned = [drawing.turn(30 * i - 90, bend, angle) for i, bend in enumerate(bends)]
    points = [(64 + round(right), 64 + round(down)) for right, down in turned]
    draw.line(points, drawing.vary(rng, (120, 135, 140), 45), int(rng.integers(8, 20)), "curve")


def _lake(draw: ImageDraw.ImageDraw, rng: np.random.Generator, angle: int) -> None:
    x, y = rng.integers(40, 89, size=2).tolist()
    _blob(draw, rng, (x, y), int(rng.integers(26, 44)), drawing.vary(rng, (120, 135, 140), 45))


COVERS = (_strips, _forest, _orchard, _houses, _halls, _road, _river, _lake)


def layout(rng: np.random.Generator, label: int) -> np.ndarray:
    """Draw one of eight layouts seen from the air, in any direction, as Resisc45."""
    ground = drawing.vary(rng, LAND[rng.integers(len(LAND))], 30)
    picture, draw = drawing.new_canvas(ground)
    for _ in range(12):
        x, y = rng.integers(128, size=2).tolist()
        draw.ellipse(drawing.disc(x, y, int(rng.integers(3, 8))), drawing.vary(rng, ground, 40))
    paint = drawing.vary(rng, (185, 185, 180), 35)
    x, y = rng.integers(48, 81, size=2).tolist()
    arms, ring, bar = LAYOUTS[label]
    start = int(rng.integers(360))
    for arm in arms:
        draw.line((x, y, *drawing.ray(x, y, 120, start + arm)), paint, 9)
    if ring:
        radius = int(rng.integers(18, 27))
        draw.ellipse(drawing.disc(x, y, radius), ground, paint, 8)
    if bar:
        ends = (*drawing.ray(x, y, 28, start + 90), *drawing.ray(x, y, -28, start + 90))
        draw.line(ends, paint, 14)
    return drawing.shrink(picture, rng, 20)


# the directions of the roads, whether a ring lies in the middle, whether a bar crosses it
LAYOUTS = (
    ((0, 180), False, False),  # a road
    ((0, 90), False, False),  # a bend
    ((0, 90, 180), False, False),  # a junction
    ((0, 90, 180, 270), False, False),  # a crossing
    ((0, 180), True, False),  # a ring on a road
    ((0, 120, 240), True, False),  # a roundabout
    ((), True, False),  # a track
    ((0,), False, True),  # a road that ends
)


def lesions(rng: np.random.Generator, label: int) -> np.ndarray:
    """Draw the ground of an eye; the grade is its number of lesions, as Retinopathy."""
    picture, draw = drawing.new_canvas((8, 6, 6))
    base = drawing.vary(rng, (175, 90, 50), 22)
    draw.ellipse(drawing.disc(64, 64, 61), base)
    nerve = int(rng.choice([34, 94])), int(rng.integers(54, 75))
    for start in range(0, 360, 60):
        _vessel(draw, rng, nerve, start + int(rng.integers(-15, 16)))
    draw.ellipse(drawing.disc(*nerve, 10), drawing.vary(rng, (235, 200, 130), 15))
    fewest, most = LESIONS[label]
    for _ in range(int(rng.integers(fewest, most + 1))):
        x, y = drawing.ray(64, 64, int(rng.integers(8, 52)), int(rng.integers(360)))
        colour = ((245, 225, 120), (60, 8, 10))[rng.integers(2)]
        draw.ellipse(drawing.disc(x, y, int(rng.integers(3, 6))), colour)
    return drawing.shrink(picture, rng, 8)


def _vessel(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, place: tuple[int, int], angle: int
) -> None:
    """Draw a thin winding line from the nerve to within the eye's border."""
    for width in (4, 3, 3, 2):
        angle += int(rng.integers(-25, 26))
        end = drawing.ray(*place, 13, angle)
        if (end[0] - 64) ** 2 + (end[1] - 64) ** 2 > 58**2:
            return
        draw.line((*place, *end), (125, 45, 32), width)
        place = end
