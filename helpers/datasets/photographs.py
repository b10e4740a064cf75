"""Photographs of any size, to measure with: cut from those that scikit-image brings along."""

import os
from pathlib import Path

import numpy as np
from skimage import data

from helpers import arguments
from helpers.datasets.image_files import ImageFiles
from helpers.datasets.writing import data_folder, make_once, whole_or_absent, write_pictures
from helpers.images import jpeg

# Those that lie in every installation of scikit-image: it would download the others.
SOURCES = {
    "astronaut": data.astronaut,
    "cat": data.cat,
    "coffee": data.coffee,
    "motorcycle": lambda: data.stereo_motorcycle()[0],
    "rocket": data.rocket,
}
BYTES_A_PIXEL = 0.3


def load_photographs(image_size=(375, 500), count=300, cache_dir=None):
    """Load photographs of one size, as a camera or the web has them; on first use, make them.

    They are for measuring speed and memory, NOT accuracy: all are cut from the same five
    photographs, so they overlap. What fits into a photograph is a random piece of it; what does
    not is put together of several, side by side. Nothing is enlarged, for an enlarged picture
    is smooth, and is decoded faster than a photograph. They need no network.

    Parameters
    ----------
    image_size : tuple of int, default=(375, 500)
        Height and width, in pixels.
    count : int, default=300
        How many, spread evenly over the classes.
    cache_dir : str or Path, optional
        Where to keep them, in a folder ``photographs-<width>x<height>``. Default: this project's
        ``data``, or what the environment variable ``BIGGER_THAN_MEMORY_DATA`` names.

    Returns
    -------
    ImageFiles
        JPEG files, of quality 90 and with half the resolution for colours (4:2:0). Classes take
        turns: a class is the photograph that a picture is cut from. Files that are missing are
        made again, and more of them if `count` is larger than before.

    Raises
    ------
    TypeError, ValueError
        If `image_size` or `count` is no whole number of 1 or more, or a side is longer than
        JPEG allows.
    OSError
        If the disk is full or `cache_dir` cannot be written.
    """
    height, width = arguments.image_size(image_size)
    arguments.whole_number("image_size", max(height, width), at_least=1, at_most=jpeg.LONGEST_SIDE)
    count = arguments.whole_number("count", count, at_least=1)
    folder = Path(cache_dir or data_folder()) / f"photographs-{width}x{height}"
    names = [name for name, *_ in _plan(count)]
    make_once(
        folder,
        lambda folder: _make(folder, (height, width), count),
        lambda folder: all((folder / name).exists() for name in names),
        space=f"about {count * height * width * BYTES_A_PIXEL / 1e6:,.0f} MB",
    )
    labels = np.arange(count, dtype=np.int64) % len(SOURCES)
    return ImageFiles([os.fspath(folder / name) for name in names], labels, tuple(SOURCES))


def _plan(count):
    """Yield (file name, class name, seed) of each picture."""
    for position in range(count):
        number, class_number = divmod(position, len(SOURCES))
        class_name = tuple(SOURCES)[class_number]
        yield f"{class_name}/{number:05d}.jpg", class_name, [class_number, number]


def _make(folder, image_size, count):
    photographs = {class_name: load() for class_name, load in SOURCES.items()}
    with whole_or_absent(folder) as working_folder:
        missing = [plan for plan in _plan(count) if not (working_folder / plan[0]).exists()]
        pictures = (
            (name, cut(photographs[class_name], image_size, np.random.default_rng(seed)))
            for name, class_name, seed in missing
        )
        write_pictures(working_folder, pictures, len(missing), "Cutting photographs")


def cut(photograph, image_size, rng):
    """Return a random piece of a photograph; of one that is too small, pieces side by side."""
    heights, widths = map(_parts, image_size, photograph.shape)
    rows = [[_piece(photograph, height, width, rng) for width in widths] for height in heights]
    return np.vstack([np.hstack(row) for row in rows])


def _parts(length, at_most):
    """Cut a length into as few parts as may be, all nearly equal."""
    return [len(part) for part in np.array_split(range(length), -(-length // at_most))]


def _piece(photograph, height, width, rng):
    """Return a random piece, which may be mirrored."""
    top = rng.integers(photograph.shape[0] - height + 1)
    left = rng.integers(photograph.shape[1] - width + 1)
    piece = photograph[top : top + height, left : left + width]
    return piece[:, :: rng.choice([-1, 1])]
