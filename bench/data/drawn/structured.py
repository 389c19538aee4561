"""The structured group of `vtab_mini`: number, distance, place, direction, depth and mazes."""

import numpy as np
from PIL import ImageDraw

from bench.config.suite import Split
from bench.data import builtin_rendering, builtin_tasks
from bench.data.builtin_tasks import LabelledImages
from bench.data.drawn import drawing

NEAR, STEP = 30, 8  # of the nearest object: distance of the first class, and a class's depth
GROUND = 20  # the horizon of a ground, on the canvas
CAR_DISTANCES = ((60, 90), (90, 130), (130, 190), (190, 300))


def count(rng: np.random.Generator, label: int) -> np.ndarray:
    """Draw label + 3 objects, as Clevr/count."""
    return builtin_rendering.render_scene(rng, label + 3)


def distance(rng: np.random.Generator, label: int) -> np.ndarray:
    """Draw objects on a ground; the class is the nearest one's distance, as Clevr/distance."""
    picture, draw = drawing.new_canvas(drawing.vary(rng, (190, 195, 200), 20))
    draw.rectangle((0, GROUND, 127, 127), drawing.vary(rng, (150, 145, 140), 20))
    nearest = NEAR + STEP * label + int(rng.integers(STEP))
    others = rng.integers(nearest + 2, NEAR + 8 * STEP, size=rng.integers(1, 5)).tolist()
    for far in sorted([nearest, *others], reverse=True):
        radius = int(rng.choice([500, 800])) // far
        x, y = int(rng.integers(radius, 128 - radius)), GROUND + 3000 // far - radius
        paint = builtin_rendering.DRAW_FUNCTIONS[rng.integers(3)]
        paint(draw, x, y, radius, builtin_rendering.COLOURS[rng.integers(8)])
    return drawing.shrink(picture, rng, 6)


def location(seed: int) -> dict[Split, LabelledImages]:
    """Return sprites labelled by horizontal position in 16 bins, as dSprites/location."""
    factors = builtin_tasks.distinct_factors(seed)
    images = builtin_rendering.render_sprites(factors)
    return builtin_tasks.split_images(images, builtin_tasks.location_label(factors[:, 3]))


def orientation(rng: np.random.Generator, label: int) -> np.ndarray:
    """Draw an arrow in one of 16 directions, of any size and place, as dSprites/orientation."""
    ground, ink = drawing.contrasting_colours(rng)
    picture, draw = drawing.new_canvas(ground)
    size, (x, y) = int(rng.integers(30, 49)), rng.integers(56, 73, size=2).tolist()
    angle = (label * 45 + int(rng.integers(-18, 19))) // 2
    outline = ((1, 0), (0.1, 0.8), (0.1, 0.3), (-1, 0.3), (-1, -0.3), (0.1, -0.3), (0.1, -0.8))
    turned = [drawing.turn(a * size, b * size, angle) for a, b in outline]
    draw.polygon([(x + round(right), y + round(down)) for right, down in turned], ink)
    return drawing.shrink(picture, rng, 12)


def azimuth(rng: np.random.Generator, label: int) -> np.ndarray:
    """Draw a solid; the class is its direction on the table in 12 bins, as smallNORB/azimuth."""
    return _solid(rng, 30 * label + int(rng.integers(30)), int(rng.integers(20, 61)))


def elevation(rng: np.random.Generator, label: int) -> np.ndarray:
    """Draw a solid; the class is the camera's height in 9 bins, as smallNORB/elevation."""
    return _solid(rng, int(rng.integers(360)), 9 * label + int(rng.integers(9)) + 5)


def _solid(rng: np.random.Generator, turned: int, raised: int) -> np.ndarray:
    """Draw a lorry: a low bonnet before a high body, seen from a direction and a height."""
    picture, draw = drawing.new_canvas(drawing.vary(rng, (150, 150, 150), 50))
    colour, size = np.array(drawing.draw_colour(rng, 100, 256)), int(rng.integers(30, 39))
    bonnet, high, wide = (int(part) for part in rng.integers((30, 55, 35), (56, 86, 56)))
    low = high * 45 // 100
    boxes = (
        ((-100, -wide, 0), (100 - bonnet, wide, high), colour),
        ((100 - bonnet, -wide, 0), (100, wide, low), colour * 3 // 4),
    )
    faces = [face for box in boxes for face in _faces(*box, turned, raised)]
    x, y = (64 + int(shift) for shift in rng.integers(-8, 9, size=2))
    for _, corners, shade in sorted(faces, key=lambda face: face[0]):
        outline = [(x + a * size // 70_000, y + b * size // 70_000) for a, b in corners]
        draw.polygon(outline, shade)
    return drawing.shrink(picture, rng, 10)


Face = tuple[int, list[tuple[int, int]], drawing.Colour]
SIDES = (  # of a box: the axis, which end, and the light that it gets in percent
    (0, 0, 55), (0, 1, 80), (1, 0, 45), (1, 1, 65), (2, 1, 100),
)  # fmt: skip


def _faces(
    low: tuple[int, ...], high: tuple[int, ...], colour: np.ndarray, turned: int, raised: int
) -> list[Face]:
    """Return the faces of a box that the camera sees, with how near each is; in thousandths."""
    faces: list[Face] = []
    for axis, end, light in SIDES:
        normal = [0, 0, 0]
        normal[axis] = 2 * end - 1
        if _project(normal[0], normal[1], normal[2], turned, raised)[2] <= 0:
            continue
        first, second = (other for other in range(3) if other != axis)
        corners = []
        for ends in ((0, 0), (0, 1), (1, 1), (1, 0)):
            point = [(low, high)[end][axis]] * 3
            point[first], point[second] = (low, high)[ends[0]][first], (low, high)[ends[1]][second]
            corners.append(_project(point[0], point[1], point[2] - 35, turned, raised))
        red, green, blue = (colour * light // 100).tolist()
        near = sum(corner[2] for corner in corners)
        faces.append((near, [(a, b) for a, b, _ in corners], (red, green, blue)))
    return faces


def _project(x: int, y: int, z: int, turned: int, raised: int) -> tuple[int, int, int]:
    """Return a point's place right of, below and before the picture's centre, in thousandths."""
    across, back = drawing.turn(x, y, turned)
    up, near = drawing.turn(z, back, raised)
    return round(1000 * across), round(-1000 * up), round(1000 * near)


def depth(rng: np.random.Generator, label: int) -> np.ndarray:
    """Draw a street; the class is the distance of the nearest car, as KITTI."""
    picture, draw = drawing.new_canvas(drawing.vary(rng, (170, 195, 225), 25))
    horizon = int(rng.integers(40, 61))
    draw.rectangle((0, horizon, 127, 127), drawing.vary(rng, (95, 120, 80), 25))
    middle = int(rng.integers(50, 79))
    road = drawing.vary(rng, (105, 105, 110), 20)
    draw.polygon([(middle, horizon), (-20, 127), (148, 127)], road)
    for side in (-1, 1):
        for x in range(0, 64, 16):
            top = horizon - int(rng.integers(4, 34)) * (64 + x) // 96
            place = middle + side * (x + 12)
            left = min(place, place + side * 18)
            wall = (left, top, left + 18, horizon + x // 6)
            draw.rectangle(wall, drawing.vary(rng, (150, 130, 115), 45))
    low, high = CAR_DISTANCES[label]
    nearest = int(rng.integers(low, high))
    others = (nearest + rng.integers(15, 200, size=rng.integers(3))).tolist()
    for far in sorted([nearest, *others], reverse=True):
        half = int(rng.integers(1000, 1301)) // far
        x, y = middle + int(rng.integers(-2200, 2201)) // far, horizon + 3600 // far
        car = drawing.draw_colour(rng, 20, 236)
        draw.rectangle((x - half, y - half, x + half, y), car)
        draw.rectangle((x - half * 3 // 4, y - half * 3 // 2, x + half * 3 // 4, y - half), car)
        draw.rectangle((x - half, y, x + half, y + half // 3), (20, 20, 20))
    return drawing.shrink(picture, rng, 10)


def maze(rng: np.random.Generator, label: int) -> np.ndarray:
    """Draw a maze's passage from within; the class is how many cells away a thing lies, and which.

    As DMLab, which tells near, far and very far, for things to take and things to shun: here the
    round ones and the pointed ones.
    """
    far, pointed = divmod(label, 2)
    thing = 2 * far + 1 + int(rng.integers(2))  # cells away, 1 to 6
    ceiling, floor, wall = (drawing.draw_colour(rng, 60, 200) for _ in range(3))
    picture, draw = drawing.new_canvas(ceiling)
    x, y = rng.integers(56, 73, size=2).tolist()
    draw.rectangle((0, y, 127, 127), floor)
    end = thing + 1 + int(rng.integers(3))
    draw.rectangle(drawing.disc(x, y, half_passage(end)), drawing.vary(rng, wall, 25))
    for cell in range(end)[::-1]:
        for side in (-1, 1):
            _side_wall(draw, rng, (x, y), side, cell, drawing.vary(rng, wall, 25))
        if cell == thing:
            _lay_thing(draw, rng, (x, y), half_passage(cell), bool(pointed))
    return drawing.shrink(picture, rng, 8)


def half_passage(cells: int) -> int:
    """Return half the width of the passage so many cells away, on the canvas."""
    return 200 // (cells + 2)


def _side_wall(
    draw: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    middle: tuple[int, int],
    side: int,
    cell: int,
    colour: drawing.Colour,
) -> None:
    """Draw a cell's wall on one side, or, for one in four, the next wall behind an opening."""
    (x, y), near, far = middle, half_passage(cell), half_passage(cell + 1)
    inner, outer = x + side * far, x + side * near
    high = near if rng.integers(4) else far
    corners = [(inner, y - far), (inner, y + far), (outer, y + high), (outer, y - high)]
    draw.polygon(corners, colour)


def _lay_thing(
    draw: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    middle: tuple[int, int],
    half: int,
    pointed: bool,
) -> None:
    """Draw a bright thing on the passage's floor: a ball, or a spike."""
    radius = half * int(rng.integers(28, 43)) // 100
    room = half - radius
    x, y = middle[0] + int(rng.integers(-room // 2, room // 2 + 1)), middle[1] + half - radius
    colour = drawing.vary(rng, (240, 225, 215), 15)
    if pointed:
        draw.polygon([(x - radius, y + radius), (x, y - radius), (x + radius, y + radius)], colour)
    else:
        draw.ellipse(drawing.disc(x, y, radius), colour)
