"""The structured group of `vtab_mini`: number, distance, place, direction, depth and mazes."""

import numpy as np

from bench.config.suite import Split
from bench.data import builtin_rendering, builtin_tasks
from bench.data.builtin_tasks import LabelledImages
from bench.data.drawn import drawing

NEAR, STEP = 30, 8  # of the nearest object: distance of the first class, and a class's depth
GROUND, FOCUS = 20, 1500  # a ground's horizon, and how fast things shrink with distance
CAR_DISTANCES = ((60, 90), (90, 130), (130, 190), (190, 300))
MAZE_CELLS, MAZE_STEP = 5, 6  # a maze's cells along a side, and a cell with its wall in pixels
STEPS = ((1, 2), (3, 4), (5, 6), (7, 9), (10, 24))  # of a maze's class


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
    size, (x, y) = int(rng.integers(22, 45)), rng.integers(46, 83, size=2).tolist()
    angle = (label * 45 + int(rng.integers(-18, 19))) // 2
    outline = ((1, 0), (0.1, 0.8), (0.1, 0.3), (-1, 0.3), (-1, -0.3), (0.1, -0.3), (0.1, -0.8))
    turned = [drawing.turn(a * size, b * size, angle) for a, b in outline]
    draw.polygon([(x + round(right), y + round(down)) for right, down in turned], ink)
    return drawing.shrink(picture, rng, 30)


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
    """Draw a maze; the class is how many steps lead from the red cell to the green one."""
    fewest, most = STEPS[label]
    pairs: list[tuple[int, int]] = []
    while not pairs:
        links = _grow_maze(rng)
        apart = _path_lengths(links)
        pairs = [(int(a), int(b)) for a, b in np.argwhere((apart >= fewest) & (apart <= most))]
    wall, floor = np.array(drawing.draw_colour(rng, 0, 90)), drawing.draw_colour(rng, 170, 256)
    pixels = np.empty((builtin_tasks.SIDE, builtin_tasks.SIDE, 3), np.int64)
    pixels[:] = wall
    for cell in range(MAZE_CELLS**2):
        _fill(pixels, cell, cell, floor)
    for one, other in links:
        _fill(pixels, one, other, floor)
    start, goal = pairs[rng.integers(len(pairs))]
    _fill(pixels, start, start, (230, 30, 30))
    _fill(pixels, goal, goal, (20, 150, 40))
    return drawing.add_noise(pixels, rng, 15)


def _grow_maze(rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return the passages of a random tree over the cells, each from a lower to a higher cell."""
    reached, links = {int(rng.integers(MAZE_CELLS**2))}, []
    trail = list(reached)
    while trail:
        free = [cell for cell in _neighbours(trail[-1]) if cell not in reached]
        if not free:
            trail.pop()
            continue
        cell = free[rng.integers(len(free))]
        links.append((min(trail[-1], cell), max(trail[-1], cell)))
        reached.add(cell)
        trail.append(cell)
    return links


def _neighbours(cell: int) -> list[int]:
    row, column = divmod(cell, MAZE_CELLS)
    places = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
    inside = [(y, x) for y, x in places if 0 <= y < MAZE_CELLS and 0 <= x < MAZE_CELLS]
    return [y * MAZE_CELLS + x for y, x in inside]


def _path_lengths(links: list[tuple[int, int]]) -> np.ndarray:
    """Return the steps between all cells of a tree: (25, 25)."""
    cells = MAZE_CELLS**2
    lengths = np.where(np.eye(cells, dtype=bool), 0, cells)
    for one, other in links:
        lengths[one, other] = lengths[other, one] = 1
    for middle in range(cells):
        lengths = np.minimum(lengths, lengths[:, middle, None] + lengths[None, middle])
    return lengths


def _fill(pixels: np.ndarray, low: int, high: int, colour: drawing.Colour) -> None:
    """Fill the cells from one to another, and the wall between them."""
    (top, left), (bottom, right) = divmod(low, MAZE_CELLS), divmod(high, MAZE_CELLS)
    rows = slice(MAZE_STEP * top + 1, MAZE_STEP * (bottom + 1))
    pixels[rows, MAZE_STEP * left + 1 : MAZE_STEP * (right + 1)] = colour
