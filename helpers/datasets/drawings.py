"""Draw small synthetic pictures in CIFAR-10's ten classes.

These are **drawings, not CIFAR-10**, for taking the class without a download. They have the
names, the size and some difficulties of the real photographs, but a result on them says
nothing about how well a model does on those.

A drawing is a list of shapes; a shape is the name of a colour and the corners of a polygon,
with x from -1 (left) to 1 (right) and y from -1 (top) to 1 (bottom).
"""

import numpy as np
from skimage.draw import polygon


def _area(colour, *corners):
    """Return a polygon from its corners."""
    return colour, np.array(corners, dtype=float)


def _oval(colour, x, y, radius_x, radius_y, turn=0.0):
    """Return an ellipse round (x, y), tilted clockwise by ``turn`` radians."""
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    return colour, circle * (radius_x, radius_y) @ _rotation(turn) + (x, y)


def _line(colour, x0, y0, x1, y1, width):
    """Return a straight line of some width: a leg or a tail, and if it is wide, a box."""
    start, end = np.array([[x0, y0], [x1, y1]])
    side = np.array([y0 - y1, x1 - x0]) * width / 2 / np.hypot(x1 - x0, y1 - y0)
    return _area(colour, start + side, end + side, end - side, start - side)


def _rotation(angle):
    """Return the matrix that turns points (rows of x and y) clockwise."""
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def _legs(bottom, width):
    """Return the legs of an animal that walks to the right, the two far ones in the shade."""
    far = [_line("shade", x, 0.05, x + 0.08, bottom, width) for x in (-0.35, 0.3)]
    return far + [_line("main", x, 0.05, x - 0.05, bottom, width) for x in (-0.45, 0.25)]


# --- The drawings: one or more views of each class; later shapes cover earlier ones ---
_AIRPLANE_FROM_BELOW = [
    _area("shade", (0.3, 0), (-0.1, -0.9), (-0.4, -0.9), (-0.1, 0), (-0.4, 0.9), (-0.1, 0.9)),
    _area("second", (-0.7, -0.35), (-0.5, 0), (-0.7, 0.35), (-0.88, 0.35), (-0.88, -0.35)),
    _oval("main", 0, 0, 0.9, 0.14),
]
_AIRPLANE_FROM_THE_SIDE = [
    _area("second", (-0.95, -0.6), (-0.7, -0.6), (-0.35, 0), (-0.8, 0)),
    _oval("main", 0, 0, 0.9, 0.17),
    _area("shade", (-0.15, 0), (0.25, 0), (-0.2, 0.6), (-0.5, 0.6)),
    *[_oval("black", x, -0.05, 0.04, 0.04) for x in (-0.35, -0.15, 0.05, 0.25)],
]
_AUTOMOBILE = [
    _area("main", (-0.7, 0), (-0.5, -0.4), (0.2, -0.4), (0.5, 0)),
    _area("main", (-0.9, 0), (0.5, -0.05), (0.9, 0.08), (0.92, 0.4), (-0.92, 0.4)),
    _area("glass", (-0.57, 0), (-0.43, -0.3), (-0.14, -0.3), (-0.14, 0)),
    _area("glass", (-0.04, 0), (-0.04, -0.3), (0.17, -0.3), (0.36, 0)),
    *[_oval("black", x, 0.4, 0.19, 0.19) for x in (-0.5, 0.5)],
    *[_oval("white", x, 0.4, 0.09, 0.09) for x in (-0.5, 0.5)],
]
_BIRD = [
    _area("shade", (-0.3, 0), (-0.9, 0.1), (-0.85, 0.32), (-0.2, 0.25)),
    _oval("main", 0.05, 0.05, 0.5, 0.26, -0.4),
    _area("orange", (0.6, -0.36), (0.94, -0.22), (0.6, -0.16)),
    _oval("main", 0.5, -0.27, 0.21, 0.21),
    _oval("black", 0.57, -0.31, 0.05, 0.05),
]
_WING_UP = [_area("second", (-0.25, 0.1), (0.2, 0), (-0.4, -0.85), (-0.6, -0.7))]
_WING_CLOSED = [
    *[_line("orange", x, 0.25, x, 0.7, 0.07) for x in (0, 0.18)],
    _oval("second", -0.08, 0.08, 0.34, 0.15, -0.1),
]
_CAT = [
    _line("shade", 0.2, 0.75, 0.7, 0.1, 0.14),
    _oval("main", 0, 0.45, 0.36, 0.42),
    *[_line("shade", -0.34, y, 0.34, y, 0.07) for y in (0.3, 0.5, 0.7)],
    *[_area("main", (x, -0.2), (x, -0.85), (0, -0.5)) for x in (-0.36, 0.36)],
    _oval("main", 0, -0.25, 0.4, 0.36),
    *[_oval("black", x, -0.3, 0.07, 0.08) for x in (-0.17, 0.17)],
    _oval("light", 0, -0.05, 0.16, 0.1),
]
_DEER = [
    *_legs(0.8, 0.09),
    _oval("main", -0.08, 0.03, 0.48, 0.2),
    _oval("light", -0.08, 0.15, 0.35, 0.08),
    _oval("white", -0.54, -0.05, 0.11, 0.13),
    _line("main", 0.25, 0.02, 0.48, -0.45, 0.17),
    _oval("main", 0.58, -0.45, 0.2, 0.11, 0.3),
]
_ANTLERS = [
    _area("second", (0.55, -0.5), (0.32, -0.98), (0.34, -0.76), (0.12, -0.78)),
    _area("second", (0.45, -0.5), (0.6, -0.98), (0.64, -0.76), (0.86, -0.84)),
]
_DOG = [
    _line("shade", 0.2, 0.7, 0.65, 0.4, 0.14),
    _oval("main", 0, 0.45, 0.36, 0.42),
    _oval("main", 0, -0.28, 0.34, 0.36),
    *[_oval("shade", 0.38 * side, -0.18, 0.13, 0.32, -0.3 * side) for side in (-1, 1)],
    *[_oval("black", x, -0.37, 0.06, 0.06) for x in (-0.14, 0.14)],
    _oval("light", 0, -0.1, 0.2, 0.2),
    _oval("black", 0, -0.18, 0.1, 0.07),
]
_FROG = [
    *[_oval("shade", 0.6 * side, 0.3, 0.28, 0.36, 0.5 * side) for side in (-1, 1)],
    *[_oval("main", x, 0.62, 0.26, 0.09) for x in (-0.68, 0.68)],
    _oval("main", 0, 0.2, 0.58, 0.46),
    _oval("light", 0, 0.4, 0.36, 0.26),
    *[_oval("main", x, -0.25, 0.19, 0.19) for x in (-0.28, 0.28)],
    *[_oval("white", x, -0.28, 0.13, 0.13) for x in (-0.28, 0.28)],
    *[_oval("black", x, -0.28, 0.08, 0.08) for x in (-0.28, 0.28)],
    _area("black", (-0.4, 0), (0, 0.12), (0.4, 0), (0, 0.2)),
]
_HORSE = [
    _line("second", -0.55, -0.05, -0.75, 0.55, 0.18),
    *_legs(0.8, 0.12),
    _oval("main", -0.08, 0, 0.53, 0.25),
    _line("second", 0.12, -0.15, 0.4, -0.68, 0.18),
    _line("main", 0.25, 0, 0.5, -0.5, 0.26),
    _area("main", (0.4, -0.55), (0.46, -0.78), (0.54, -0.6)),
    _oval("main", 0.64, -0.42, 0.29, 0.14, 0.7),
]
_HULL = [_area("main", (-0.9, 0.15), (0.95, 0.1), (0.7, 0.55), (-0.75, 0.55))]
_SAILS = [
    _line("black", 0, 0.2, 0, -0.9, 0.06),  # the mast
    _area("white", (0.06, -0.85), (0.06, 0.05), (0.7, 0.05)),
    _area("second", (-0.06, -0.7), (-0.06, 0.05), (-0.6, 0.05)),
]
_DECKS = [
    _line("second", -0.25, -0.4, -0.05, -0.4, 0.4),  # the funnel
    _line("white", -0.65, 0.015, 0.35, 0.015, 0.27),
    _line("white", -0.45, -0.2, 0.2, -0.2, 0.25),
    *[_oval("black", x, 0, 0.06, 0.05) for x in (-0.5, -0.25, 0, 0.25)],
]
_TRUCK = [
    _line("black", -0.95, 0.275, 0.4, 0.275, 0.15),
    _area("main", (0.35, 0.4), (0.35, -0.35), (0.7, -0.35), (0.9, 0), (0.92, 0.4)),
    _area("glass", (0.48, -0.02), (0.48, -0.25), (0.67, -0.25), (0.8, -0.02)),
    *[_oval("black", x, 0.4, 0.19, 0.19) for x in (-0.65, -0.28, 0.62)],
    *[_oval("white", x, 0.4, 0.09, 0.09) for x in (-0.65, -0.28, 0.62)],
]
_HIGH_LOAD = [_line("second", -0.95, -0.175, 0.28, -0.175, 0.85)]
_LOW_LOAD = [_line("second", -0.95, 0.075, 0.28, 0.075, 0.35)]

# --- Colours: classes share them, so that colour alone does not tell a horse from a deer ---

_FUR = [(120, 75, 40), (75, 55, 45), (150, 140, 130), (228, 218, 205), (195, 145, 90)]
_PAINT = [(200, 40, 40), (45, 75, 175), (238, 238, 238), (60, 60, 68), (215, 180, 50)]
_SKIN = [(85, 150, 50), (60, 110, 55), (140, 150, 60), (120, 95, 55)]
_SKY = [(120, 175, 230), (175, 205, 235), (200, 200, 205), (235, 190, 150), (85, 120, 180)]
_LAND = [(95, 145, 65), (215, 195, 150), (125, 125, 128), (232, 236, 242), (165, 120, 85)]
_SEA = [(50, 100, 140), (80, 115, 105)]
_CLASSES = {  # the views of each class, its colours and those of the ground behind it
    "airplane": ([_AIRPLANE_FROM_BELOW, _AIRPLANE_FROM_THE_SIDE], _PAINT, _SKY + _LAND + _SEA),
    "automobile": ([_AUTOMOBILE], _PAINT, _LAND),
    "bird": ([_BIRD + _WING_UP, _BIRD + _WING_CLOSED], _FUR + _PAINT, _SKY + _LAND + _SEA),
    "cat": ([_CAT], _FUR, _LAND),
    "deer": ([_DEER, _DEER + _ANTLERS, _DEER + _ANTLERS], _FUR, _LAND),
    "dog": ([_DOG], _FUR, _LAND),
    "frog": ([_FROG], _SKIN, _LAND + _SEA),
    "horse": ([_HORSE], _FUR, _LAND),
    "ship": ([_SAILS + _HULL, _DECKS + _HULL], _PAINT, _SKY + _SEA + _SEA),
    "truck": ([_TRUCK + _HIGH_LOAD, _TRUCK + _LOW_LOAD], _PAINT, _LAND),
}
CLASS_NAMES = tuple(_CLASSES)
_OVERSAMPLING = 3  # draw this many times larger, then average: that softens the edges


def draw_picture(class_name, rng, size=32):
    """Draw one picture of a class.

    Parameters
    ----------
    class_name : str
        One of ``CLASS_NAMES``.
    rng : numpy.random.Generator
        Where every random choice comes from: the same state gives the same picture.
    size : int, default=32
        Height and width in pixels.

    Returns
    -------
    numpy.ndarray
        The picture, ``uint8`` of shape ``(size, size, 3)``, in RGB order.

    Raises
    ------
    ValueError
        If ``class_name`` is not one of ``CLASS_NAMES``.
    """
    picture, _ = draw_with_mask(class_name, rng, size)
    return picture


def draw_with_mask(class_name, rng, size=32):
    """Draw the picture that `draw_picture` draws, and say where in it the object is.

    Parameters
    ----------
    class_name, rng, size
        As for `draw_picture`.

    Returns
    -------
    picture : numpy.ndarray
        uint8 of shape ``(size, size, 3)``.
    mask : numpy.ndarray
        uint8 of shape ``(size, size)``: 1 where at least half of a pixel shows the object, else 0.
    """
    if class_name not in CLASS_NAMES:
        raise ValueError(f"class_name must be one of {CLASS_NAMES}, received {class_name!r}")
    views, palette, grounds = _CLASSES[class_name]
    ground = _vary(rng.choice(grounds), rng)
    canvas = _background(ground, rng, size * _OVERSAMPLING)
    colours = _choose_colours(palette, ground, rng)
    stretch = rng.uniform(0.85, 1.05) * np.array([rng.choice([-1, 1]), rng.uniform(0.85, 1.1)])
    matrix = stretch[:, np.newaxis] * _rotation(rng.normal(0, 0.1))
    shift = rng.uniform(-0.18, 0.18, 2)
    covered = np.zeros(canvas.shape[:2])
    for colour, points in views[rng.integers(len(views))]:
        points = points + rng.normal(0, 0.02, 2)  # by hand: no two drawings are quite alike
        _fill(canvas, points @ matrix + shift, colours[colour])
        _fill(covered, points @ matrix + shift, 1)
    mask = _averaged(covered[..., np.newaxis], size)[..., 0] >= 0.5
    return _photograph(_averaged(canvas, size), rng), mask.astype(np.uint8)


def _averaged(canvas, size):
    """Return the mean of each block of pixels."""
    blocks = canvas.reshape(size, _OVERSAMPLING, size, _OVERSAMPLING, -1)
    return blocks.mean(axis=(1, 3))


def _vary(colour, rng):
    """Return a colour near the one given: lighter or darker, and of a slightly other hue."""
    return np.clip(rng.normal(0, 20) + rng.normal(0, 9, 3) + colour, 0, 255)


def _fill(canvas, points, colour):
    """Fill a polygon whose corners run from -1 to 1 across the canvas."""
    columns, rows = ((points + 1) * len(canvas) / 2).T
    canvas[polygon(rows, columns, canvas.shape[:2])] = colour


def _background(ground, rng, width):
    """Return a canvas with a sky, a ground and a few blobs, such as clouds or bushes."""
    sky = _vary(rng.choice(_SKY), rng)
    canvas = np.full((width, width, 3), ground)
    canvas[: int(width * rng.uniform(0.1, 0.7))] = sky
    for _ in range(rng.integers(4)):
        blob = _oval("", *rng.uniform(-1, 1, 2), rng.uniform(0.1, 0.4), rng.uniform(0.05, 0.2))
        _fill(canvas, blob[1], _vary(rng.choice([ground, sky]), rng))
    return canvas


def _choose_colours(palette, ground, rng):
    """Return what the names of the colours mean in one picture."""
    main = _vary(rng.choice(palette), rng)
    while np.abs(main - ground).max() < 55:  # a white cat in the snow could not be seen
        main = _vary(rng.choice(palette), rng)
    named = {"black": 30, "white": 240, "glass": (150, 190, 215), "orange": (235, 150, 50)}
    colours = {name: _vary(colour, rng) for name, colour in named.items()}
    shades = {"main": main, "shade": main * 0.7, "light": main * 0.45 + 135}
    return colours | shades | {"second": _vary(rng.choice(palette), rng)}


def _photograph(picture, rng):
    """Add what a camera adds: uneven light, contrast and noise."""
    ramp = np.linspace(-1, 1, len(picture))[:, np.newaxis]
    down, across = rng.uniform(-45, 45, 2)
    light = down * ramp[:, np.newaxis] + across * ramp + rng.uniform(-25, 25)
    picture = 128 + (picture - 128) * rng.uniform(0.8, 1.1) + light
    picture = picture + rng.normal(0, rng.uniform(2, 9), picture.shape)
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)
