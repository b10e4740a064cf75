"""A folder of pictures as people have them, to practise on: mixed, unbalanced, and with a fault."""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from helpers.datasets.drawings import draw_picture
from helpers.datasets.writing import ENCODINGS, data_folder, make_once, whole_or_absent, write_whole
from helpers.images.opencv import cv2

COUNTS = {"cat": 160, "dog": 24, "horse": 160}
SIZES, SHARES = (40, 56, 72, 96, 160), (0.3, 0.3, 0.2, 0.15, 0.05)
ENDINGS = (".jpg", ".JPG", ".png")  # files take turns
GREY = 10  # each tenth file
TRANSPARENT = "cat/IMG_0002.png"
CUT_OFF = "horse/IMG_0096.jpg"
BESIDE = "IMG_0500.jpg"
OTHER_FILES = {
    ".DS_Store": b"",
    "__MACOSX/cat/._IMG_0000.jpg": b"",
    "cat/Thumbs.db": b"",
    "cat/notes.txt": b"Most of these are ours.\n",
}


def make_messy_folder(cache_dir=None):
    """Make a folder of drawings that is as untidy as a folder of photographs; only once.

    The pictures are drawings by this project's own code: an accuracy reached on them says nothing
    about photographs. They need no network and seconds to make. In the folder are:

    - ``cat``, ``dog`` and ``horse``, with 160, 24 and 160 files ``IMG_0000.jpg``, ``IMG_0001.JPG``,
      ``IMG_0002.png``, ``IMG_0003.jpg``, … : two JPEG files, then a PNG file, 40 to 160 pixels
      wide and high, most of them not square. Each tenth is grey; ``cat/IMG_0002.png`` has a fourth
      channel; ``horse/IMG_0096.jpg`` is cut off in the middle and cannot be read.
    - ``IMG_0500.jpg``, a picture of a cat beside these folders.
    - ``cat/notes.txt``; and empty, as systems leave them, ``.DS_Store``, ``cat/Thumbs.db`` and
      ``__MACOSX/cat/._IMG_0000.jpg``.

    Parameters
    ----------
    cache_dir : str or Path, optional
        Where to keep it, as a folder ``messy``. Default: this project's ``data``,
        or what the environment variable ``BIGGER_THAN_MEMORY_DATA`` names.

    Returns
    -------
    pathlib.Path
        The folder, for `load_folder`. Files that are missing are made again.

    Raises
    ------
    OSError
        If the disk is full or `cache_dir` cannot be written.

    Examples
    --------
    >>> files = load_folder(make_messy_folder())
    """
    folder = Path(cache_dir or data_folder()) / "messy"
    make_once(folder, _make, _is_whole, space="about 4 MB")
    return folder


def _make(folder):
    with whole_or_absent(folder) as working_folder:
        missing = [plan for plan in _plan() if not (working_folder / plan[0]).exists()]
        for name, *drawing in tqdm(missing, desc="Drawing a messy folder", unit="file"):
            path = working_folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, _content(name, *drawing))


def _plan():
    """Yield (file name, class name, seed) of each file; no class name if it is no picture."""
    for class_number, (class_name, count) in enumerate(COUNTS.items()):
        for number in range(count):
            ending = ENDINGS[number % len(ENDINGS)]
            yield f"{class_name}/IMG_{number:04d}{ending}", class_name, (class_number, number)
    yield BESIDE, "cat", (len(COUNTS), 0)
    for name in OTHER_FILES:
        yield name, None, ()


def _is_whole(folder):
    return all((folder / name).exists() for name, *_ in _plan())


def _content(name, class_name, seed):
    """Return the bytes of a file."""
    if class_name is None:
        return OTHER_FILES[name]
    rng = np.random.default_rng(seed)
    picture = _cropped(draw_picture(class_name, rng, rng.choice(SIZES, p=SHARES)), rng)
    picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)  # the order that OpenCV stores
    if seed[1] % GREY == GREY - 1:
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    if name == TRANSPARENT:
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA)
    ending = Path(name).suffix.lower()
    content = cv2.imencode(ending, picture, ENCODINGS[ending])[1].tobytes()
    return content[: len(content) // 2] if name == CUT_OFF else content


def _cropped(picture, rng):
    """Return a part of a square picture: less high, or less wide."""
    size = len(picture)
    kept = round(size * rng.uniform(0.7, 1))
    start = rng.integers(size - kept + 1)
    rows, columns = slice(start, start + kept), slice(None)
    return picture[rows, columns] if rng.random() < 0.5 else picture[columns, rows]
